"""Text from elsewhere, made safe for where it goes: a terminal, or a command that a person pastes into a shell.

Tags, parameters, logs and error messages are written by others. A terminal obeys control sequences in them: it repaints
lines, sets the clipboard (OSC 52), reorders text. Source: ECMA-48 and xterm's "Control Sequences"; for bidirectional
controls, Unicode Standard Annex 9.
"""

from __future__ import annotations

import re
import shlex

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, movements, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\n]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"  # all others; also the beginning of one that has no end
)
# C0 without tab and line feed, DEL, C1, bidirectional controls, line and paragraph separators, lone surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFINISHED = re.compile(
    r"(?:\r|(?:\x1b\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\n]*\x1b?|\x1b[ -/]*)\Z"
)
# Longer ones are not waited for. xterm itself allows more, for clipboards and images only.
_LONGEST_SEQUENCE = 4096


def plain(text: str) -> str:
    """`text` without control sequences. Other control characters become visible escapes, such as `\\u0007`.

    Tabs and line feeds stay. A carriage return, which progress bars use, begins a new line.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(_visible, _SEQUENCE.sub("", text))


class PlainStream:
    """`plain` for text that comes in pieces: a sequence may be split between them."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What of the text so far can be shown now."""
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
    """`value` as one word of a shell command. What cannot be typed is escaped as bash and zsh read it: `$'a\\nb'`."""
    if value.isprintable():
        return shlex.quote(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(one if one.isprintable() else _in_a_shell(one) for one in escaped) + "'"


def command(start: str, *words: str) -> str:
    """A command to paste: `start` as it is, and each of `words` quoted where a shell needs that."""
    return " ".join([start, *(quoted(word) for word in words)])


def _visible(character: re.Match[str]) -> str:
    # The form that JSON has, which may hold such a character as it is from U+007F on.
    return f"\\u{ord(character[0]):04x}"


def _in_a_shell(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
