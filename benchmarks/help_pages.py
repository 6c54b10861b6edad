"""`invoke --list` and every `--help`, against the import of Invoke alone: what no command of Invoke can be faster than.

`invoke` is the console script, as people type it. It runs under the same Python as what it is compared with.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.pairs import Pair
from benchmarks.programs import program
from tasks import namespace

AT_MOST = 2.0


def pairs(folder: Path, environment: Mapping[str, str], _endings: ExitStack) -> list[Pair]:
    """One for the list, one for Invoke's own help, one for each command's. Nothing is written to `folder`."""
    script = str(Path(sysconfig.get_path("scripts")) / "invoke")
    usual = program([sys.executable, "-c", "import invoke"], environment)
    asked = [["--list"], ["--help"], *([name, "--help"] for name in sorted(namespace.task_names))]
    return [
        Pair(
            what=" ".join(["invoke", *arguments]),
            against='python -c "import invoke"',
            ours=program([script, *arguments], environment),
            usual=usual,
            at_most=AT_MOST,
        )
        for arguments in asked
    ]
