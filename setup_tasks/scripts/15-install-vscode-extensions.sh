#!/bin/bash
# One call for all: code-server's start costs more than the installation. Open VSX, where it comes from, fails now and
# then: the task file has this tried again.
set -euo pipefail

readonly extensions=(amazonwebservices.aws-toolkit-vscode amazonwebservices.amazon-q-vscode saoudrizwan.claude-dev)
home=$(getent passwd "$USER" | cut -d: -f6)
readonly folder=$home/.local/share/code-server/extensions
arguments=(--force)
for extension in "${extensions[@]}"; do arguments+=(--install-extension "$extension"); done

have_files() {
  local extension
  for extension in "${extensions[@]}"; do
    compgen -G "$folder/$extension-*/package.json" >/dev/null || return 1
  done
}

# An extension on code-server's list passes for installed even when its files are gone. Without the list, code-server
# makes a new one from the files.
have_files || rm -f "$folder/extensions.json"

cd "$home"
# A clean environment: this step's holds things the editor's user has no need to see.
if ! output=$(runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 code-server "${arguments[@]}" 2>&1) ||
  ! have_files; then
  printf '%s\n' "$output" "the extensions could not be installed (the editor works without them): is open-vsx.org in reach of this host?" >&2
  exit 1
fi

echo "installed for $USER: ${extensions[*]}" >&2
