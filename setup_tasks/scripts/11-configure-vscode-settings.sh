#!/bin/bash
# Workspace trust is off because it protects nothing here: trusting the home folder once trusts everything below it. The
# user's version of the file is kept beside it.
set -euo pipefail

home=$(getent passwd "$USER" | cut -d: -f6)
# Written as the user: root would follow links in the home.
as_user() { runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
directory=$home
for part in .local share code-server User; do
  directory+=/$part
  [[ -d $directory ]] || as_user mkdir -m 700 "$directory"
done

target=$directory/settings.json
temporary=$(as_user mktemp "$target.XXXXXX")
trap 'as_user rm -f "$temporary"' EXIT
as_user tee "$temporary" >/dev/null <<'JSON'
{
  "telemetry.telemetryLevel": "off",
  "aws.telemetry": false,
  "amazonQ.telemetry": false,
  "update.mode": "none",
  "extensions.autoUpdate": false,
  "extensions.autoCheckUpdates": false,
  "workbench.startupEditor": "none",
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "security.workspace.trust.enabled": false,
  "terminal.integrated.defaultProfile.linux": "bash",
  "files.autoSave": "afterDelay",
  "files.watcherExclude": {
    "**/.git/objects/**": true,
    "**/.cache/**": true,
    "**/neuron-compile-cache/**": true,
    "**/__pycache__/**": true
  }
}
JSON
as_user python3 -m json.tool "$temporary" /dev/null
as_user chmod 644 "$temporary"
if [[ -f $target ]] && ! as_user cmp --quiet "$temporary" "$target"; then
  as_user cp --preserve --remove-destination "$target" "$target.before-setup"
fi
as_user mv --no-target-directory "$temporary" "$target"

echo "VS Code settings of $USER are written, telemetry off, extensions do not update themselves" >&2
