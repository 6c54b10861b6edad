#!/bin/bash
# The configuration, with the new site and without the default one, and the certificate are tested on a copy before
# nginx's own files change: an error must not prevent the next start of a running nginx.
set -euo pipefail

readonly available=/etc/nginx/sites-available/code-server enabled=/etc/nginx/sites-enabled
# Key and certificate are in one file, so that they are replaced in one step.
readonly https_port=443 own=/etc/ssl/code-server.pem
trial=$(mktemp -d /etc/nginx/trial.XXXXXX)
trap 'rm -rf "$trial" "$trial.conf" "$trial.pem"' EXIT

fail() {
  echo "$1" >&2
  exit 1
}

is_pair() { # CERTIFICATE KEY
  local public
  public=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) &&
    [[ $public == "$(openssl pkey -in "$2" -passin pass: -pubout 2>/dev/null)" ]]
}
lasts() { openssl x509 -in "$1" -noout -checkend "$2" >/dev/null; } # CERTIFICATE SECONDS

check_given() {
  local file again="then run the setup again; nginx is left as it was"
  for file in "$TLS_CERTIFICATE" "$TLS_KEY"; do
    [[ $file ]] || fail "a certificate is to be used, but its path or its key's is not set: name both, $again"
    [[ -f $file && -r $file ]] || fail "$file is not a file on this host: put the certificate chain and its key here, $again"
  done
  openssl x509 -in "$TLS_CERTIFICATE" -noout 2>/dev/null || fail "$TLS_CERTIFICATE does not begin with a certificate in PEM form: convert it, $again"
  openssl pkey -in "$TLS_KEY" -passin pass: -noout 2>/dev/null || fail "$TLS_KEY is not a private key in PEM form that opens without a passphrase, which nobody can type at boot: convert it, $again"
  is_pair "$TLS_CERTIFICATE" "$TLS_KEY" || fail "$TLS_KEY is not the key of the first certificate in $TLS_CERTIFICATE: name the right one, or put the host's own certificate before its issuers', $again"
  lasts "$TLS_CERTIFICATE" 0 || fail "$TLS_CERTIFICATE has expired ($(openssl x509 -in "$TLS_CERTIFICATE" -noout -enddate)): renew it, $again"
}

# Outside EC2 the metadata service does not answer, and the host has no public names.
ask_metadata() { curl --silent --fail --noproxy '*' --connect-timeout 1 --max-time 2 "${@:2}" "http://169.254.169.254/latest/$1"; }
find_names() {
  local token name
  names=(DNS:localhost IP:127.0.0.1 "DNS:$(uname -n)")
  token=$(ask_metadata api/token --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60') || return 0
  for item in DNS:public-hostname IP:public-ipv4; do
    name=$(ask_metadata "meta-data/${item#*:}" --header "X-aws-ec2-metadata-token: $token") || continue
    [[ ! $name =~ ^[A-Za-z0-9.-]+$ ]] || names+=("${item%:*}:$name")
  done
}

# A certificate stays, so that users need not accept another one, unless it expires soon or the host has a new name.
is_still_good() {
  local has name
  is_pair "$own" "$own" && lasts "$own" $((30 * 24 * 3600)) || return 1
  has=$(openssl x509 -in "$own" -noout -ext subjectAltName | sed -n 's/IP Address:/IP:/g; s/^  *//p')
  for name in "${names[@]}"; do
    [[ ", $has," == *", $name,"* ]] || return 1
  done
}

# 825 days is the longest validity that all browsers accept for a self-signed certificate.
make_certificate() {
  local IFS=,
  (
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 825 -config /dev/stdin \
      -keyout "$trial.pem" -out "$trial.pem" 2>/dev/null <<CONFIG
[req]
distinguished_name = name
x509_extensions = server
prompt = no
[name]
CN = code-server
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = ${names[*]}
CONFIG
  )
  mv "$trial.pem" "$own"
}

write_listen() { # PORT FLAGS
  local address addresses=(127.0.0.1 "[::1]")
  [[ $NGINX_LISTEN == loopback ]] || addresses=(0.0.0.0 "[::]")
  [[ -e /proc/net/if_inet6 ]] || unset 'addresses[1]'
  for address in "${addresses[@]}"; do
    echo "    listen $address:$1 $2;"
  done
}

# Forwarding headers from clients are dropped: code-server matches origins against X-Forwarded-Host and Forwarded, and the
# editor derives its own address from others. X-Forwarded-Host is not set, because code-server refuses websockets if it
# has a port. Only the session cookie is httponly: others may belong to the user's own servers below /proxy/. The
# timeouts of a day keep the websockets of idle terminals open.
write_server() { # PORT FLAGS COOKIE-FLAGS MORE
  cat <<NGINX

server {
$(write_listen "$1" "$2")
    server_name _;
    server_tokens off;
    client_max_body_size 0;
    limit_req zone=code_server_address;
    limit_req zone=code_server_outside;
    limit_req_status 429;
    error_page 429 @limited;
$4
    location @limited {
        default_type text/plain;
        add_header Retry-After 60 always;
        return 429 "One login a minute from an address, two from all together. A port forward of Session Manager has no such limit.\n";
    }

    location / {
        proxy_pass http://127.0.0.1:$INTERNAL_PORT;
        proxy_http_version 1.1;
        proxy_set_header Host \$http_host;
        proxy_set_header X-Real-IP \$remote_addr;
        proxy_set_header X-Forwarded-For \$remote_addr;
        proxy_set_header X-Forwarded-Proto \$scheme;
$(printf '        proxy_set_header %s "";\n' Forwarded X-Forwarded-{Host,Port,Prefix,Scheme,Server,Ssl} X-Original-{Host,URI,URL} X-Rewrite-URL)
        proxy_set_header Upgrade \$http_upgrade;
        proxy_set_header Connection \$code_server_connection;
        proxy_cookie_flags code-server-session httponly $3;
        ${3:+proxy_cookie_flags ~ $3;}
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_read_timeout 1d;
        proxy_send_timeout 1d;
    }
}
NGINX
}

# code-server limits failed logins of all clients together: 2 a minute, and 12 more an hour. So nginx passes one login from
# outside in 30 s, which stays below the limit per minute, and one a minute from an address (an IPv6 /64), so that no
# client can block the others. Session Manager port forwards come from this host; their logins are not limited here.
write_site() {
  cat <<'NGINX'
map $http_upgrade $code_server_connection {
    default upgrade;
    ''      '';
}

geo $code_server_outside {
    default     1;
    127.0.0.0/8 0;
    ::1/128     0;
}

map $code_server_outside:$request_method:$uri $code_server_login {
    default                  '';
    "~*^1:POST:/login(/|$)"  outside;
}

map $code_server_login:$binary_remote_addr $code_server_login_address {
    default '';
    "~(?s)^outside:(?<code_server_network>.{8}).{8}$" $code_server_network;
    "~(?s)^outside:(?<code_server_host>.{4})$"        $code_server_host;
}

limit_req_zone $code_server_login_address zone=code_server_address:1m rate=1r/m;
limit_req_zone $code_server_login zone=code_server_outside:1m rate=2r/m;
NGINX
  if [[ $TLS == off ]]; then
    write_server "$NGINX_PORT" default_server "" ""
    return
  fi
  # Plain requests from this host are not redirected: they come through a Session Manager port forward. Browsers consider
  # its other end, http://localhost, secure, and nothing serves https there.
  # 307, because browsers remember a permanent redirect even after encryption is turned off.
  write_server "$NGINX_PORT" default_server "" "
    if (\$code_server_outside) {
        return 307 https://\$host\$request_uri;
    }
"
  # Browsers do not send a cookie marked secure with a plain request.
  write_server "$https_port" "ssl default_server" secure "
    ssl_certificate $certificate;
    ssl_certificate_key $key;
    ssl_protocols TLSv1.2 TLSv1.3;
"
}

answers() { # ADDRESS; https: with the certificate
  [[ $(curl --silent --insecure --max-time 5 --output /dev/null --write-out '%{http_code}' "$1/healthz") != 000 ]] || return 1
  [[ $1 != https:* || $(openssl s_client -connect "${1#https://}" </dev/null 2>/dev/null | show_fingerprint) == "$fingerprint" ]]
}
show_fingerprint() { openssl x509 -noout -fingerprint -sha256 2>/dev/null; }

whom="for this host only"
[[ $NGINX_LISTEN == loopback ]] || whom="for other hosts, too"
served="port $NGINX_PORT" addresses=("http://127.0.0.1:$NGINX_PORT")
case $TLS in
  given)
    check_given
    certificate=$TLS_CERTIFICATE key=$TLS_KEY
    ;;
  self-signed)
    find_names
    is_still_good || make_certificate
    chown root:root "$own"
    chmod 600 "$own"
    certificate=$own key=$own
    ;;
esac
if [[ $TLS != off ]]; then
  fingerprint=$(show_fingerprint <"$certificate")
  served="https on port $https_port (SHA-256 ${fingerprint#*=}), redirects from port $NGINX_PORT"
  addresses+=("https://127.0.0.1:$https_port")
fi

for address in "${addresses[@]}"; do
  # nginx would only log this, keep its current configuration, and fail at the next start.
  port=${address##*:}
  ! ss --no-header --listening --tcp --numeric --processes "sport = :$port" | grep -v '"nginx"' ||
    fail "another program listens on port $port (see the line above): stop it, then run the setup again; nginx is left as it was"
done

for site in "$enabled"/*; do
  [[ ! -e $site || ${site##*/} == @(default|code-server) ]] || cp "$site" "$trial"
done
write_site >"$trial/code-server"
sed "s|$enabled/\*|$trial/*|" /etc/nginx/nginx.conf >"$trial.conf"
nginx -t -q -c "$trial.conf"

# On a reload nginx opens new addresses before it closes old ones. If they overlap (0.0.0.0 includes 127.0.0.1), that fails.
action="reload-or-restart"
cmp --quiet <(grep listen "$available") <(grep listen "$trial/code-server") || action=restart
chmod 644 "$trial/code-server"
mv "$trial/code-server" "$available"
ln -sfn "$available" "$enabled/code-server"
rm -f "$enabled/default"

systemctl enable --quiet nginx
systemctl "$action" nginx
# A reload that cannot open a port only logs it. For a moment the old workers still answer.
for address in "${addresses[@]}"; do
  until answers "$address"; do
    if ((SECONDS >= 20)); then
      echo "nginx does not answer on port ${address##*:}; its log ends with:" >&2
      tail -n 5 /var/log/nginx/error.log >&2
      exit 1
    fi
    sleep 0.2
  done
done
[[ $TLS == self-signed ]] || rm -f "$own"

echo "nginx serves $served, $whom, and forwards to 127.0.0.1:$INTERNAL_PORT" >&2
