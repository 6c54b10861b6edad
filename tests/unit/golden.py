"""What is printed, compared with files that were read by a person: tests/unit/golden/FOLDER/NAME.

`UPDATE_GOLDEN=1 pytest …` writes them anew; the diff of the commit is then what is to be read.
"""

import contextlib
import difflib
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from torchneuron.core import display

_ALL = Path(__file__).parent / "golden"


def check(name: str, text: str, *, folder: str = "cb") -> None:
    """Fail, with the difference, unless `text` is what the file `name` has. It ends in a line break, or not: as is."""
    file = _ALL / folder / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
        return
    if not file.exists():
        pytest.fail(f"There is no golden file {name}: run the test with UPDATE_GOLDEN=1, then read what it wrote.")
    # read_text would make \n of \r\n before Python 3.13 gave it `newline`.
    wanted = file.read_bytes().decode("utf-8")
    if text != wanted:
        difference = difflib.unified_diff(
            wanted.splitlines(keepends=True), text.splitlines(keepends=True), name, "printed", n=2
        )
        pytest.fail(f"{name} differs (UPDATE_GOLDEN=1 writes it anew):\n{''.join(difference)}", pytrace=False)


class Terminal(io.StringIO):
    """Standard output on a terminal that shows any character."""

    def isatty(self) -> bool:
        return True


def printed(tell: Callable[[], object], *, width: int = 0, output: io.StringIO | None = None) -> str:
    """What `tell` writes to standard output: into a pipe, or on a terminal of `width` columns, without colours."""
    output = output or (Terminal() if width else io.StringIO())
    terminal = {"COLUMNS": str(width), "LINES": "50", "TERM": "dumb"} if width else {}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        for name, value in terminal.items():
            patch.setenv(name, value)
        display.console.cache_clear()
        try:
            tell()
        finally:
            display.console.cache_clear()
    return output.getvalue()
