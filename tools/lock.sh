#!/usr/bin/env bash
# Lock the Python packages anew, and pipenv itself. Run it with the oldest Python supported (PYTHON=python3.10 make
# lock): pipenv resolves for the interpreter it runs on, and newer ones can use what the oldest can.
# Where packages come from is each machine's own business, so no address is kept.
set -euo pipefail
cd "$(dirname "$0")/.."

pipenv=$PWD/.tools/bin/pipenv
python=$(.tools/bin/python -c 'import sys; print(sys.executable)')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$pipenv" --python "$python" lock
printf '[packages]\npipenv = "*"\n' >"$work/Pipfile"
(cd "$work" && PIPENV_VENV_IN_PROJECT=1 "$pipenv" --python "$python" lock)
.tools/bin/python - "$work" <<'PYTHON'
import json
import pathlib
import sys


def requirement(name, package):
    """A line of a requirements file, with every hash that may be installed."""
    marker = f" ; {package['markers']}" if package.get("markers") else ""
    extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
    hashes = "".join(f" \\\n    --hash={one}" for one in package["hashes"])
    return f"{name}{extras}{package['version']}{marker}{hashes}\n"


path = pathlib.Path("Pipfile.lock")
lock = json.loads(path.read_text())
lock["_meta"]["sources"] = []
path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n")
packages = json.loads((pathlib.Path(sys.argv[1]) / "Pipfile.lock").read_text())["default"]
lines = [requirement(name, package) for name, package in sorted(packages.items())]
pathlib.Path("tools/pipenv.txt").write_text("# Made by make lock.\n" + "".join(lines))
PYTHON
