#!/bin/bash
# In the editor's terminals VSCODE_IPC_HOOK_CLI names the window. Elsewhere (a Session Manager or SSH shell, or tmux after
# the window was reloaded) code-server knows which windows are open.
set -euo pipefail

readonly target=/usr/local/bin/code
temporary=$(mktemp "$target.XXXXXX")
trap 'rm -f "$temporary"' EXIT

printf '#!/bin/bash\nuser=%q\n' "$USER" >"$temporary"
cat >>"$temporary" <<'BASH'
# code FILE...: open files in the editor's browser window. Options such as --goto, --diff, --wait and - work as well.
set -euo pipefail
[[ $(id -un) == "$user" ]] || exec sudo --set-home --user="$user" -- "$0" "$@"

sessions=$(getent passwd "$user" | cut -d: -f6)/.local/share/code-server/code-server-ipc.sock
ask() { curl --silent --max-time 5 --unix-socket "$@"; }

window=${VSCODE_IPC_HOOK_CLI-}
if [[ ! -S $window ]] || ! ask "$window" --output /dev/null http://localhost/; then
  file=$PWD/
  for argument; do
    [[ $argument == -* ]] || { file=$(realpath -m -- "$argument") && break; }
  done
  window=$(ask "$sessions" --get --data-urlencode "filePath=$file" http://localhost/session |
    sed -n 's/.*"socketPath":"\([^"]*\)".*/\1/p') || true
fi
if [[ ! $window ]]; then
  echo "code: no editor window is open: open code-server in the browser, then try again" >&2
  exit 1
fi
VSCODE_IPC_HOOK_CLI=$window exec /usr/lib/code-server/lib/vscode/bin/remote-cli/code-server "$@"
BASH
bash -n "$temporary"
chmod 755 "$temporary"
mv "$temporary" "$target"

echo "code opens files in the running editor" >&2
