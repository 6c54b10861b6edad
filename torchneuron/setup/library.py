"""What all scripts share on the machine (`secrets.sh`, `run-task.sh`), how it gets there, and what it says to us."""

from __future__ import annotations

import hashlib
from pathlib import Path

SKIPPED = "[torchneuron] skipped: "
"""What a step prints whose test (`onlyIf`) does not hold."""
FINISHED_BEFORE = "[torchneuron] finished before"
"""What a step prints that finds the mark of having finished already."""
LOGS = "/var/log/torchneuron"
"""Where each task's output is, in a file of its own, and everything in `all.log`."""

_FOLDER = "/var/lib/torchneuron"


def _without_comments(text: str) -> str:
    """A document has room for 64 KB, and the machine reads no comments."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


_FILES = [Path(__file__).with_name(name) for name in ("secrets.sh", "run-task.sh")]
_TEXT = "".join(_without_comments(file.read_text(encoding="utf-8")) for file in _FILES)
_HASH = hashlib.sha256(_TEXT.encode()).hexdigest()[:16]

PLACE = f"{_FOLDER}/run-task-{_HASH}.sh"
"""Where the machine has it: named by its content, so that the runs of another version don't meet it."""

KEEP = f"""\
install -d -m 0700 {_FOLDER}
cat >{PLACE}.$$ <<'END-{_HASH}'
{_TEXT}END-{_HASH}
mv {PLACE}.$$ {PLACE}
"""
"""The lines of a script that put it there; two at once don't get into each other's way."""
