#!/bin/bash
# Runs all checks, so that one run lists everything to fix. Does not log in: code-server allows two attempts a minute,
# which are left to the user.
set -euo pipefail
export -n PASSWORD # for this shell only

readonly unit=code-server@$USER.service
read -ra wanted <<<"$EXTENSIONS"
home=$(getent passwd "$USER" | cut -d: -f6) || home=
certificate=/etc/ssl/code-server.pem
[[ $TLS != given ]] || certificate=$TLS_CERTIFICATE
config=$home/.config/code-server/config.yaml
data=$home/.local/share/code-server
disk=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${DATA_VOLUME/-/}
broken=() missing=()
listening="for this host only"
[[ $NGINX_LISTEN == loopback ]] || listening="for other hosts"

expect() { # WHAT COMMAND...
  "${@:2}" >/dev/null 2>&1 || broken+=("$1")
}
belongs_to() { [[ $(stat -c %U "$2") == "$1" ]]; }
is_alone_of() { [[ $(stat -c '%U %a' "$2") == "$1 600" ]]; }
is_installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1") == "installed $2" ]]; }
shows() { [[ $(systemctl show --property "$2" --value "$1") == "$3" ]]; }
has_line() {
  [[ -r $1 ]] && [[ $'\n'$(<"$1")$'\n' == *$'\n'"$2"$'\n'* ]]
}
as_user() { runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
# Passwords and hashes go through pipes: everyone on the host can read arguments.
has_password() {
  printf '%s\n' "$(getent shadow "$USER" | cut -d: -f2)" "$PASSWORD" |
    perl -e 'chomp(my ($hash, $password) = <STDIN>); exit((crypt($password, $hash) // "") ne $hash)'
}
takes_password() {
  printf '%s\n' "$(sed -n "s/^hashed-password: '\(.*\)'$/\1/p" "$config")" "$PASSWORD" | (cd /usr/lib/code-server && lib/node -e '
    const [hash, password] = require("fs").readFileSync(0, "utf8").split("\n");
    require("argon2").verify(hash, password).catch(() => false).then((fits) => process.exit(fits ? 0 : 1));')
}
has_extension() { # registered, with its files
  local id=${1%@*} version='[0-9]*'
  [[ $1 != *@* ]] || version=${1#*@}
  grep -qi "\"id\":\"$id\"" "$data/extensions/extensions.json" &&
    { compgen -G "$data/extensions/${id,,}-$version/package.json" || compgen -G "$data/extensions/${id,,}-$version-*/package.json"; }
}
is_on_data_volume() {
  [[ -b $disk ]] && [[ $(mountpoint --fs-devno "$HOME_DIR") == "$(mountpoint --devno "$disk")" ]]
}
has_safe_options() {
  local options
  options=$(findmnt --noheadings --output OPTIONS --mountpoint "$HOME_DIR")
  [[ ,$options, == *,nosuid,* && ,$options, == *,nodev,* ]]
}
comes_back_at_boot() { grep -Eq "^UUID=$(blkid -p -s UUID -o value "$disk") $HOME_DIR " /etc/fstab; }
listens_as_asked() { # PORT
  local addresses
  addresses=$(ss --no-header --listening --tcp --numeric "sport = :$1" | awk '{ print $4 }')
  if [[ ! $addresses ]]; then # reported by other checks
    return 0
  elif [[ $NGINX_LISTEN == loopback ]]; then
    ! grep --quiet --invert-match --fixed-strings --line-regexp -e "127.0.0.1:$1" -e "[::1]:$1" <<<"$addresses" || return 1
  else
    grep --quiet --fixed-strings --line-regexp -e "0.0.0.0:$1" <<<"$addresses"
  fi
}
serves_login() { [[ $(curl --insecure --fail --silent --location --max-time 10 "$1/") == *'name="password"'* ]]; }
passes_websockets() { # without a session code-server refuses an upgrade, and redirects other requests to the login page
  local status
  status=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --header 'Connection: Upgrade' \
    --header 'Upgrade: websocket' --header 'Sec-WebSocket-Version: 13' --header 'Sec-WebSocket-Key: dG9yY2huZXVyb24tY29kZQ==' \
    "http://127.0.0.1:$NGINX_PORT/?type=Management")
  [[ $status == 40? ]]
}
fingerprint() { openssl x509 -noout -fingerprint -sha256; }
serves_certificate() { openssl s_client -connect 127.0.0.1:443 </dev/null | fingerprint | cmp - <(fingerprint <"$certificate"); }

expect "needrestart is held back by an earlier setup" test ! -e /etc/needrestart/conf.d/50-code-server-setup.conf
expect "user $USER does not exist" test -n "$home"
expect "password of $USER is not the one that was set" has_password
expect "$USER can't use sudo without a password" as_user sudo --non-interactive true
expect "$HOME_DIR does not belong to $USER" belongs_to "$USER" "$HOME_DIR"
if [[ $DATA_VOLUME ]]; then
  expect "$HOME_DIR is not mounted from volume $DATA_VOLUME" is_on_data_volume
  expect "$HOME_DIR is mounted with programs of other users' (suid) or devices on it" has_safe_options
  expect "/etc/fstab does not mount volume $DATA_VOLUME at $HOME_DIR" comes_back_at_boot
fi
expect "$home/.bashrc lacks the Neuron environments" as_user grep -q neuron-venv "$home/.bashrc"
expect "the Neuron tools' profile is missing" test -r /etc/profile.d/neuron-tools.sh
expect "code-server $CODE_SERVER_VERSION is not installed" is_installed code-server "$CODE_SERVER_VERSION"
expect "$config is not $USER's alone" is_alone_of "$USER" "$config"
expect "$config listens elsewhere" has_line "$config" "bind-addr: 127.0.0.1:$INTERNAL_PORT"
expect "$config does not ask for a password" has_line "$config" "auth: password"
expect "$config has another password" takes_password
expect "VS Code settings are not valid JSON" as_user python3 -m json.tool "$data/User/settings.json"
expect "nginx's configuration is not valid" nginx -t -q
expect "nginx's site for code-server is not enabled" test -e /etc/nginx/sites-enabled/code-server
expect "nginx's default site is still there" test ! -e /etc/nginx/sites-enabled/default
for service in nginx.service "$unit"; do
  expect "$service does not run" systemctl --quiet is-active "$service"
  expect "$service does not start at boot" systemctl --quiet is-enabled "$service"
done
expect "$unit is not the setup's own" shows "$unit" FragmentPath "/etc/systemd/system/$unit"
expect "$unit does not run as $USER" shows "$unit" User "$USER"
expect "code-server does not answer on port $INTERNAL_PORT" \
  curl --fail --silent --max-time 10 "http://127.0.0.1:$INTERNAL_PORT/healthz"
for port in "$NGINX_PORT" 443; do
  [[ $port == "$NGINX_PORT" || $TLS != off ]] || continue
  expect "nginx does not listen $listening on port $port" listens_as_asked "$port"
done
expect "nginx does not serve the login page on port $NGINX_PORT" serves_login "http://127.0.0.1:$NGINX_PORT"
expect "nginx does not pass websockets on" passes_websockets
if [[ $TLS != off ]]; then
  expect "the certificate $certificate is missing or has expired" openssl x509 -in "$certificate" -noout -checkend 0
  expect "nginx does not serve the certificate $certificate on port 443" serves_certificate
  expect "nginx does not serve the login page over https on port 443" serves_login https://127.0.0.1:443
fi
if [[ $TLS == self-signed ]]; then
  expect "$certificate, which holds a private key, is not root's alone" is_alone_of root "$certificate"
fi
expect "the code command is missing" test -x /usr/local/bin/code

# Reported but not an error: the editor works without extensions, and Open VSX has no guarantees.
for extension in "${wanted[@]}"; do
  has_extension "$extension" >/dev/null 2>&1 || missing+=("$extension")
done
((${#broken[@]} == 0)) || printf 'broken: %s\n' "${broken[@]}" >&2
((${#missing[@]} == 0)) || printf 'missing: extension %s (install it in the editor, or run the setup again from 15)\n' "${missing[@]}" >&2

if ((${#broken[@]})); then
  echo "${#broken[@]} checks failed" >&2
  exit 1
fi

but=${missing[*]+" but for missing extensions (${missing[*]})"}
where="port $NGINX_PORT"
[[ $TLS == off ]] || where="https, port 443"
echo "all is well$but: log in at $where of this host, or through a Session Manager port forward" >&2
