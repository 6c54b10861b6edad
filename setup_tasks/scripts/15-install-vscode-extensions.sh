#!/bin/bash
# One call for all: code-server's start costs more than the installation. It comes from Open VSX, whose downloads
# fail now and then, hence the further tries.
set -euo pipefail

readonly extensions=(amazonwebservices.aws-toolkit-vscode amazonwebservices.amazon-q-vscode saoudrizwan.claude-dev)
readonly tries=3
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
until output=$(runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 code-server "${arguments[@]}" 2>&1) &&
  have_files; do
  failures=$((${failures:-0} + 1))
  if ((failures == tries)); then
    printf '%s\n' "$output" "the extensions could not be installed in $tries tries (the editor works without them): is open-vsx.org in reach of this host?" >&2
    exit 1
  fi
  sleep $((failures * 5))
done

echo "installed for $USER: ${extensions[*]}" >&2
