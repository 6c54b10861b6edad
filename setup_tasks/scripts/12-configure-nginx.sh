#!/bin/bash
# The whole configuration, with the new site and without the default one, is tried on a copy before anything of
# nginx's own is touched: a mistake must not keep a running nginx from its next start.
set -euo pipefail

readonly available=/etc/nginx/sites-available/code-server enabled=/etc/nginx/sites-enabled
trial=$(mktemp -d /etc/nginx/trial.XXXXXX)
trap 'rm -rf "$trial" "$trial.conf"' EXIT

listen6=
[[ ! -e /proc/net/if_inet6 ]] || listen6="listen [::]:$NGINX_PORT default_server;"

for site in "$enabled"/*; do
  [[ ! -e $site || ${site##*/} == @(default|code-server) ]] || cp "$site" "$trial"
done

# X-Forwarded-Host stays unset: with a port in it code-server refuses websockets. Day-long timeouts keep an idle
# terminal's websocket open.
cat >"$trial/code-server" <<NGINX
map \$http_upgrade \$code_server_connection {
    default upgrade;
    ''      '';
}

server {
    listen $NGINX_PORT default_server;
    $listen6
    server_name _;
    server_tokens off;
    client_max_body_size 0;

    location / {
        proxy_pass http://127.0.0.1:$INTERNAL_PORT;
        proxy_http_version 1.1;
        proxy_set_header Host \$http_host;
        proxy_set_header X-Real-IP \$remote_addr;
        proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto \$scheme;
        proxy_set_header Upgrade \$http_upgrade;
        proxy_set_header Connection \$code_server_connection;
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_read_timeout 1d;
        proxy_send_timeout 1d;
    }
}
NGINX

sed "s|$enabled/\*|$trial/*|" /etc/nginx/nginx.conf >"$trial.conf"
nginx -t -q -c "$trial.conf"

chmod 644 "$trial/code-server"
mv "$trial/code-server" "$available"
ln -sfn "$available" "$enabled/code-server"
rm -f "$enabled/default"

systemctl enable --quiet nginx
systemctl reload-or-restart nginx
# A reload that can't have the port says so in its log only.
until [[ $(curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$NGINX_PORT/healthz") != 000 ]]; do
  if ((SECONDS >= 20)); then
    echo "nginx does not answer on port $NGINX_PORT; its log ends with:" >&2
    tail -n 5 /var/log/nginx/error.log >&2
    exit 1
  fi
  sleep 0.2
done

echo "nginx serves port $NGINX_PORT and forwards to 127.0.0.1:$INTERNAL_PORT" >&2
