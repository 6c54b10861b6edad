#!/bin/bash
# Only nginx reaches code-server: it listens on loopback. The file has the password's hash, which is a login, so it is
# readable by its owner alone from the moment it exists.
set -euo pipefail
export -n PASSWORD # for this shell alone
umask 077

readonly directory=.config/code-server package=/usr/lib/code-server
home=$(getent passwd "$USER" | cut -d: -f6)
group=$(id -g "$USER")
for folder in "$home/.config" "$home/$directory"; do
  [[ -d $folder ]] || install -d -o "$USER" -g "$group" -m 700 "$folder"
done

# Hashed by what will check it. The hash there is stays while it fits: a new one ends every session, as it should when
# the password has changed.
old=$(sed -n "s/^hashed-password: '\\(.*\\)'$/\\1/p" "$home/$directory/config.yaml" 2>/dev/null) || old=
hash=$(printf '%s\n' "$old" "$PASSWORD" | (cd "$package" && lib/node -e '
  const argon2 = require("argon2");
  const [old, password] = require("fs").readFileSync(0, "utf8").split("\n");
  argon2.verify(old, password).catch(() => false)
    .then((fits) => fits ? old : argon2.hash(password, {type: argon2.argon2id}))
    .then((hash) => process.stdout.write(hash));'))

temporary=$(mktemp "$home/$directory/config.yaml.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cat >"$temporary" <<YAML
# Written by the code-server setup.
bind-addr: 127.0.0.1:$INTERNAL_PORT
auth: password
hashed-password: '$hash'
cert: false
disable-telemetry: true
disable-update-check: true
disable-getting-started-override: true
YAML
chown "$USER:$group" "$temporary"
mv "$temporary" "$home/$directory/config.yaml"

echo "code-server asks for a password on 127.0.0.1:$INTERNAL_PORT" >&2
