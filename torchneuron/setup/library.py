"""The shell library that all task scripts share (`secrets.sh`, `run-task.sh`), how it is installed, what it prints."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SKIPPED = "[torchneuron] skipped: "
"""Printed by a step whose test (`onlyIf`) is false."""
FINISHED_BEFORE = "[torchneuron] finished before"
"""Printed by a step that had finished in an earlier run."""
LOGS = "/var/log/torchneuron"
"""Folder with a log for each task, and `all.log` with the output of all."""

_FOLDER = "/var/lib/torchneuron"


_HERE_DOCUMENT = re.compile(r"(?<!<)<<(?!<)-?\s*(['\"]?)([A-Za-z_]\w*)\1")


def without_comments(text: str) -> str:
    """A bash script without comment lines and blank lines: an SSM document has room for 64 KB.

    For this project's own scripts only: no string in them has a line that begins with `#`. Here-documents are kept.
    """
    kept: list[str] = []
    ends: list[str] = []
    for line in text.splitlines():
        if ends:
            kept.append(line)
            if line.strip() == ends[0]:
                ends.pop(0)
        elif line.strip() and not line.lstrip().startswith("#"):
            kept.append(line)
            ends = [found[2] for found in _HERE_DOCUMENT.finditer(line)]
    return "".join(f"{line}\n" for line in kept)


FILES = tuple(Path(__file__).with_name(name) for name in ("secrets.sh", "run-task.sh"))
_TEXT = "".join(without_comments(file.read_text(encoding="utf-8")) for file in FILES)
_HASH = hashlib.sha256(_TEXT.encode()).hexdigest()[:16]

PATH = f"{_FOLDER}/run-task-{_HASH}.sh"
"""Where the library is on a machine. The hash keeps the versions of concurrent runs apart."""

INSTALL = f"""\
install -d -m 0700 {_FOLDER}
cat >{PATH}.$$ <<'END-{_HASH}'
{_TEXT}END-{_HASH}
mv {PATH}.$$ {PATH}
"""
"""Script lines that install the library. Two runs may execute them at once."""
