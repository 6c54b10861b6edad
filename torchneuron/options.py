"""Numbers as the command line gives them: Invoke's own conversion answers a word with a traceback."""

from __future__ import annotations

from torchneuron.errors import InputError


def whole_number(option: str, text: str) -> int:
    """`text` as a number of 0 or more; 0 when it is empty. Raises InputError naming `option`."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"{text!r} is not a whole number.", do=f"Give {option} as digits only.")
    return int(text)
