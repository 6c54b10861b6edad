#!/bin/bash
# One call for all, because starting code-server takes longer than the installation. Open VSX sometimes fails, so the task
# has retries. Extensions that were removed from the list stay installed.
set -euo pipefail

read -ra wanted <<<"$EXTENSIONS"
home=$(getent passwd "$USER" | cut -d: -f6)
readonly folder=$home/.local/share/code-server/extensions
arguments=(--force)
for extension in "${wanted[@]}"; do arguments+=(--install-extension "$extension"); done

as_user() { runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
have_files() { # folders are named in lower case: publisher.name-1.2.3, and the platform for some
  local extension version
  for extension in "${wanted[@]}"; do
    [[ $extension == *@* ]] && version=${extension#*@} || version='[0-9]*'
    extension=${extension%@*}
    compgen -G "$folder/${extension,,}-$version/package.json" >/dev/null ||
      compgen -G "$folder/${extension,,}-$version-*/package.json" >/dev/null || return 1
  done
}

# code-server considers a listed extension installed even if its files are gone. Without the list, it creates a new one from
# the files.
have_files || as_user rm -f "$folder/extensions.json"

cd "$home"
if ((${#wanted[@]})) && { ! output=$(as_user code-server "${arguments[@]}" 2>&1) || ! have_files; }; then
  printf '%s\n' "$output" "the extensions could not be installed (the editor works without them): is open-vsx.org in reach of this host?" >&2
  exit 1
fi

echo "installed for $USER: ${wanted[*]:-no extensions}" >&2
