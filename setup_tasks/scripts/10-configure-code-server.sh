#!/bin/bash
# Only nginx reaches code-server: it listens on loopback. The file has the password's hash, so it is readable by
# its owner alone from the moment it exists.
set -euo pipefail
umask 077

readonly directory=.config/code-server
home=$(getent passwd "$USER" | cut -d: -f6)
group=$(id -g "$USER")
for folder in "$home/.config" "$home/$directory"; do
  [[ -d $folder ]] || install -d -o "$USER" -g "$group" -m 700 "$folder"
done

temporary=$(mktemp "$home/$directory/config.yaml.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cat >"$temporary" <<YAML
# Written by the code-server setup.
bind-addr: 127.0.0.1:$INTERNAL_PORT
auth: password
hashed-password: '$CODE_SERVER_PASSWORD_HASH'
cert: false
disable-telemetry: true
disable-update-check: true
disable-getting-started-override: true
YAML
chown "$USER:$group" "$temporary"
mv "$temporary" "$home/$directory/config.yaml"

echo "code-server asks for a password on 127.0.0.1:$INTERNAL_PORT" >&2
