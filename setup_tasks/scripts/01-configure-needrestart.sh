#!/bin/bash
# After an installation needrestart asks which services to restart, and over SSM nobody can answer.
# "List only" rather than "automatically": that could restart the SSM agent under the step it is running.
set -euo pipefail

readonly target=/etc/needrestart/conf.d/50-code-server-setup.conf
settings=$(
  cat <<'PERL'
# Written by the code-server setup: apt runs unattended, so nothing is asked and nothing restarted by itself.
$nrconf{restart} = 'l';
$nrconf{kernelhints} = -1;
$nrconf{ucodehints} = 0;
PERL
)

if [[ ! -f $target || $(<"$target") != "$settings" ]]; then
  mkdir -p "${target%/*}"
  temporary=$(mktemp "$target.XXXXXX")
  trap 'rm -f "$temporary"' EXIT
  printf '%s\n' "$settings" >"$temporary"
  chmod 644 "$temporary"
  mv "$temporary" "$target"
fi

echo "needrestart lists services and asks nothing" >&2
