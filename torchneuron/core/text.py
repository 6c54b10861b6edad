"""Formats times, durations and prices, and makes untrusted text safe for a terminal or a shell.

Tags, parameters, logs and error messages may contain control sequences, which repaint lines, set the clipboard (OSC 52)
or reorder text. Source: ECMA-48 and xterm's "Control Sequences"; for bidirectional controls, Unicode Standard Annex 9.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, movements, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\n]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"  # all others; also the start of an unterminated one
)
# C0 without tab and line feed, DEL, C1, bidirectional controls, line and paragraph separators, lone surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFINISHED = re.compile(
    r"(?:\r|(?:\x1b\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\n]*\x1b?|\x1b[ -/]*)\Z"
)
# Longer sequences count as text. xterm allows more only for clipboards and images.
_LONGEST_SEQUENCE = 4096


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def plain(text: str) -> str:
    """`text` without control sequences. Other control characters become visible escapes, such as `\\u0007`.

    Tabs and line feeds stay. A carriage return, which progress bars use, begins a new line.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(_visible, _SEQUENCE.sub("", text))


class PlainStream:
    """`plain` for text that arrives in pieces: a sequence may be split between them."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The text up to the end of the last complete sequence."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _LONGEST_SEQUENCE))
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return plain(text[:end])

    def finish(self) -> str:
        """The rest of the text."""
        held, self._held = self._held, ""
        return plain(held)


def quoted(value: str) -> str:
    """`value` as one word of a shell command. Unprintable characters are escaped for bash and zsh: `$'a\\nb'`."""
    if value.isprintable():
        return shlex.quote(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(char if char.isprintable() else _shell_escape(char) for char in escaped) + "'"


def command(start: str, *words: str) -> str:
    """A command to paste: `start` unchanged, then `words`, quoted where needed."""
    return " ".join([start, *(quoted(word) for word in words)])


def _visible(character: re.Match[str]) -> str:
    # A JSON escape: JSON text may contain such characters unescaped from U+007F on.
    return f"\\u{ord(character[0]):04x}"


def _shell_escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def when(time: datetime | None) -> str:
    """A time in UTC, and in local time where that differs: `2026-01-31 11:30 UTC (12:30 CET)`."""
    if time is None:
        return "open"
    utc, local = f"{time:%Y-%m-%d %H:%M} UTC", local_time(time)
    return f"{utc} ({local})" if local else utc


def price(fee: Decimal, currency: str) -> str:
    """An amount of money: `1,234.50 USD`."""
    return f"{fee:,.2f} {currency}"


def local_time(time: datetime) -> str:
    """A time in the local time zone, with the date if it differs: `12:30 CET`. Empty if the local time is UTC."""
    local = time.astimezone()
    if not local.utcoffset():
        return ""
    return local.strftime("%H:%M %Z" if local.date() == time.date() else "%Y-%m-%d %H:%M %Z")


def iso(time: datetime) -> str:
    """A time in ISO 8601, in UTC: `2026-01-31T11:30:00Z`."""
    return f"{time.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def iso_or_none(time: datetime | None) -> str | None:
    """`iso`, or None if the time is unknown."""
    return iso(time) if time else None


def seconds_to(time: datetime | None, now: datetime) -> int | None:
    """Whole seconds from `now` to `time`: 0 if it is past, None if it is unknown."""
    return max(int((time - now).total_seconds()), 0) if time else None


def either(parts: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def duration(span: timedelta) -> str:
    """A non-negative time span in its two largest units, rounded down: `2 d 3 h`, `5 h 10 min`."""
    left = int(span.total_seconds())
    for index, (unit, seconds) in enumerate(_UNITS):
        amount, rest = divmod(left, seconds)
        if not amount:
            continue
        text = f"{amount} {unit}"
        if index + 1 < len(_UNITS):
            smaller, smaller_seconds = _UNITS[index + 1]
            if rest >= smaller_seconds:
                text += f" {rest // smaller_seconds} {smaller}"
        return text
    return "less than a minute"


def unknown_name(name: str, known: Sequence[str]) -> str:
    """A message about an unknown name, with the nearest known name, or else with all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"unknown name {name!r}; did you mean {near[0]!r}?"
    return f"unknown name {name!r}; known names: {', '.join(known)}"
