#!/bin/bash
# A new account gets HOME_DIR as its home: then shells, the editor's folder and its settings, and everything the
# user keeps are in one place, which may be a volume that outlives the instance. An account that exists
# (USER=ubuntu, say) keeps the home it has, with its SSH keys; HOME_DIR is then only the folder it works in.
set -euo pipefail
export -n PASSWORD # for this shell alone

if [[ ${#PASSWORD} -lt 12 || $PASSWORD == *[[:cntrl:]]* ]]; then
  echo "the password is shorter than 12 characters, or has some that cannot be typed" >&2
  exit 1
fi

if ! getent passwd "$USER" >/dev/null; then
  group=(--user-group)
  ! getent group "$USER" >/dev/null || group=(--gid "$USER")
  # 07 makes the folder: useradd would leave one that exists already to root.
  useradd --home-dir "$HOME_DIR" --no-create-home --shell /bin/bash --comment "code-server" "${group[@]}" "$USER"
fi

# Through pipes of the shell's own: arguments can be read by everyone on the host. Perl's crypt is the C library's, which
# knows every form of hash that chpasswd makes.
has_password() {
  printf '%s\n' "$(getent shadow "$USER" | cut -d: -f2)" "$PASSWORD" |
    perl -e 'chomp(my ($hash, $password) = <STDIN>); exit((crypt($password, $hash) // "") ne $hash)'
}
has_password || chpasswd <<<"$USER:$PASSWORD"

echo "user $USER ($(id -u "$USER")) has its password, home $(getent passwd "$USER" | cut -d: -f6)" >&2
