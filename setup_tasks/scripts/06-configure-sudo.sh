#!/bin/bash
# sudo skips files with a dot in their name, so the new rule has no effect until visudo has checked it.
set -euo pipefail

readonly target=/etc/sudoers.d/90-code-server-$USER
temporary=$(mktemp "$target.XXXXXX")
trap 'rm -f "$temporary"' EXIT

echo "$USER ALL=(ALL:ALL) NOPASSWD: ALL" >"$temporary"
chmod 440 "$temporary"
visudo --check --quiet --file="$temporary"
mv "$temporary" "$target"

echo "$USER may use sudo without a password" >&2
