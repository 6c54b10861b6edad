#!/usr/bin/env bash
# Lock the Python packages again, and the tools that have lists of their own. Run it with the oldest Python supported
# (PYTHON=python3.10 make lock): pipenv resolves for the interpreter it runs on, and newer ones can use what the oldest
# can. Where packages come from is each machine's own business, so no address is kept.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(.tools/bin/python -c 'import sys; print(sys.executable)')
.tools/bin/pipenv --python "$python" lock
.tools/bin/python - <<'PYTHON'
import json
import pathlib

path = pathlib.Path("Pipfile.lock")
lock = json.loads(path.read_text())
lock["_meta"]["sources"] = []
path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n")
PYTHON

for tool in pipenv checkov cdktn; do
  .tools/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
    --upgrade "tools/$tool.in" -o "tools/$tool.txt"
done
