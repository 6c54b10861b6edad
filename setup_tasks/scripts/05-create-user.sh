#!/bin/bash
# HOME_DIR becomes the home of a new account: shells, the editor, its settings and the user's files share one folder,
# which may be on a volume that outlives the instance. An existing account (such as ubuntu) keeps its home and SSH keys;
# HOME_DIR is then only its working folder.
set -euo pipefail
export -n PASSWORD # for this shell only

if [[ ${#PASSWORD} -lt 12 || $PASSWORD == *[[:cntrl:]]* ]]; then
  echo "the password is shorter than 12 characters, or has characters that cannot be typed" >&2
  exit 1
fi

if ! getent passwd "$USER" >/dev/null; then
  group=(--user-group)
  ! getent group "$USER" >/dev/null || group=(--gid "$USER")
  # 07 creates the folder: useradd would leave an existing one to root.
  useradd --home-dir "$HOME_DIR" --no-create-home --shell /bin/bash --comment "code-server" "${group[@]}" "$USER"
fi

# Through pipes, because everyone on the host can read arguments. Perl's crypt is the C library's, which supports every
# form of hash that chpasswd creates.
has_password() {
  printf '%s\n' "$(getent shadow "$USER" | cut -d: -f2)" "$PASSWORD" |
    perl -e 'chomp(my ($hash, $password) = <STDIN>); exit((crypt($password, $hash) // "") ne $hash)'
}
has_password || chpasswd <<<"$USER:$PASSWORD"

echo "user $USER ($(id -u "$USER")) has its password, home $(getent passwd "$USER" | cut -d: -f6)" >&2
