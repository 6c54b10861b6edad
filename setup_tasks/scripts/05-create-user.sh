#!/bin/bash
# A new account gets HOME_DIR as its home: then shells, the editor's folder and its settings, and everything the
# user keeps are in one place, which may be a volume that outlives the instance. An account that exists
# (USER=ubuntu, say) keeps the home it has, with its SSH keys; HOME_DIR is then only the folder it works in.
set -euo pipefail

if ! getent passwd "$USER" >/dev/null; then
  group=(--user-group)
  ! getent group "$USER" >/dev/null || group=(--gid "$USER")
  # 07 makes the folder: useradd would leave one that exists already to root.
  useradd --home-dir "$HOME_DIR" --no-create-home --shell /bin/bash --comment "code-server" "${group[@]}" "$USER"
fi

# The hash goes through a pipe of the shell's own: arguments can be read by everyone on the host.
if [[ $(getent shadow "$USER" | cut -d: -f2) != "$ACCOUNT_PASSWORD_HASH" ]]; then
  chpasswd --encrypted <<<"$USER:$ACCOUNT_PASSWORD_HASH"
fi

echo "user $USER ($(id -u "$USER")) has its password, home $(getent passwd "$USER" | cut -d: -f6)" >&2
