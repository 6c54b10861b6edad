#!/bin/bash
# code-server listens on loopback, for nginx. The file has the password's hash, which code-server accepts as a login, so
# only its owner can ever read it.
set -euo pipefail
export -n PASSWORD # for this shell only
umask 077

readonly directory=.config/code-server package=/usr/lib/code-server
readonly header='# Written by the code-server setup; the password was hashed on this machine.'
home=$(getent passwd "$USER" | cut -d: -f6)
# Written as the user: root would follow links in the home.
as_user() { runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
for folder in "$home/.config" "$home/$directory"; do
  [[ -d $folder ]] || as_user mkdir -m 700 "$folder"
done
readonly target=$home/$directory/config.yaml

# Hashed by the library that verifies it. A new hash ends all sessions, so the current one stays if the password has not
# changed, unless an earlier version of the setup sent it through Systems Manager.
old=
if [[ $(as_user head -n 1 "$target" 2>/dev/null) == "$header" ]]; then
  old=$(as_user sed -n "s/^hashed-password: '\\(.*\\)'$/\\1/p" "$target")
fi
hash=$(printf '%s\n' "$old" "$PASSWORD" | (cd "$package" && lib/node -e '
  const argon2 = require("argon2");
  const [old, password] = require("fs").readFileSync(0, "utf8").split("\n");
  argon2.verify(old, password).catch(() => false)
    .then((fits) => fits ? old : argon2.hash(password, {type: argon2.argon2id}))
    .then((hash) => process.stdout.write(hash));'))

temporary=$(as_user mktemp "$target.XXXXXX")
trap 'as_user rm -f "$temporary"' EXIT
as_user tee "$temporary" >/dev/null <<YAML
$header
bind-addr: 127.0.0.1:$INTERNAL_PORT
auth: password
hashed-password: '$hash'
cert: false
disable-telemetry: true
disable-update-check: true
disable-getting-started-override: true
YAML
as_user mv --no-target-directory "$temporary" "$target"

echo "code-server asks for a password on 127.0.0.1:$INTERNAL_PORT" >&2
