#!/bin/bash
# Never recursive: the folder may be a volume with terabytes of the user's files on it.
set -euo pipefail

uid=$(id -u "$USER")
if [[ ! -d $HOME_DIR ]]; then
  mkdir -p "$HOME_DIR"
  chmod 755 "$HOME_DIR"
fi

case $(stat -c %u "$HOME_DIR") in
  "$uid") ;;
  0) chown "$USER:" "$HOME_DIR" ;;
  *)
    echo "$HOME_DIR belongs to $(stat -c %U "$HOME_DIR"), not to $USER: choose another home folder, or give it to $USER" >&2
    exit 1
    ;;
esac

if [[ $(getent passwd "$USER" | cut -d: -f6) == "$HOME_DIR" ]]; then
  for file in /etc/skel/.[!.]*; do
    [[ -e $HOME_DIR/${file##*/} ]] || install -o "$USER" -g "$(id -g "$USER")" -m 644 "$file" "$HOME_DIR"
  done
fi

echo "$HOME_DIR belongs to $USER" >&2
