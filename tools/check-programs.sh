#!/usr/bin/env bash
# Say what is missing of the programs nothing here can install: Python 3.10, Node 20, Terraform 1.11 or newer.
# Exits 1 after naming all of them.
set -euo pipefail

problems=0
need() { # NAME MINIMUM FOUND HOW
  if [ -z "$3" ]; then
    echo "$1 $2 or newer is missing: $4" >&2
    problems=1
  elif [ "$(printf '%s\n%s\n' "$2" "$3" | sort --version-sort | head -n 1)" != "$2" ]; then
    echo "$1 $3 is too old, $2 or newer is needed: $4" >&2
    problems=1
  fi
}
version() { # PROGRAM ARGUMENT: the first dotted number it prints
  command -v "$1" >/dev/null || return 0
  "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1 || true
}

need Python 3.10 "$(version "${PYTHON:-python3}" --version)" "apt-get install python3 python3-venv, or https://www.python.org"
need Node 20.0 "$(version node --version)" "https://nodejs.org"
need npm 10.0 "$(version npm --version)" "it comes with Node"
need Terraform 1.11 "$(version terraform version)" "https://developer.hashicorp.com/terraform/install"
exit "$problems"
