"""A command line that Invoke cannot read: told like every other bad input, and with its exit status.

Invoke says "No idea what '--durtion' is!" and ends with 1; its `invoke` command runs a Program of its own, and nothing
can be set to have it run another one. But it loads the commands before it reads what was asked of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from invoke import ParseError, Program
from invoke.main import program

from commands.command import ended
from torchneuron.errors import InputError


class _Program(Program):  # type: ignore[misc] # Invoke's own types are not read
    """Invoke's own, but for what it says of a line it cannot read."""

    def parse_tasks(self) -> None:
        self.core.unparsed = _with_names(self.core.unparsed)
        try:
            super().parse_tasks()
        except ParseError as error:
            raise ended(_told(error, self.parser.contexts)) from None

    def parse_cleanup(self) -> None:
        try:
            super().parse_cleanup()
        except ParseError as error:  # --help for a command that there is not
            raise ended(_told(error, self.parser.contexts)) from None


# Commands with a value that may be left out and needs no name. Invoke knows only such that must be given.
_NAMELESS = {"setup.logs": "--task"}


def _with_names(words: Sequence[str]) -> list[str]:
    """The command line with `setup.logs 09` as `setup.logs --task 09`."""
    named: list[str] = []
    for word in words:
        if named and named[-1] in _NAMELESS and not word.startswith("-"):
            named.append(_NAMELESS[named[-1]])
        named.append(word)
    return named


def take_over() -> None:
    """Have the running `invoke` tell what it cannot read in this project's way."""
    program.__class__ = _Program


def _told(error: ParseError, commands: Iterable[str]) -> InputError:
    """Invoke's error in our words; in its own where it is none of the two that people make."""
    from torchneuron.schema import unknown_name

    context = error.context
    name = context.name if context else ""
    do = f"See invoke {name} --help." if name else "See invoke --list."
    if unknown := re.fullmatch(r"No idea what '(.*)' is!", str(error), re.DOTALL):
        given = unknown[1]
        if name and given.startswith("-"):
            options = [flag for flag in context.flags if flag.startswith("--")]
            return InputError(f"invoke {name} has no option {given}.", why=unknown_name(given, options), do=do)
        if name:
            return InputError(
                f"invoke {name}: {given!r} is neither the value of an option nor a command.",
                why="Every value follows the name of its option. One with blanks has to be quoted.",
                do=do,
            )
        if given.startswith("-"):
            return InputError(f"invoke has no option {given} of its own.", do="See invoke --help.")
        return InputError(f"There is no command {given!r}.", why=unknown_name(given, list(commands)), do=do)
    if valueless := re.match(r"Flag <Argument: ([\w-]+).* needed value", str(error)):
        return InputError(f"invoke {name}: --{valueless[1]} needs a value.", do=do)
    return InputError(f"invoke {name}: {error}", do=do)
