"""A command line that Invoke cannot read: told like every other bad input, and with its exit status.

Invoke says "No idea what '--durtion' is!" and ends with 1; its `invoke` command runs a Program of its own, and nothing
can be set to have it run another one. But it loads the commands before it reads what was asked of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from invoke import Argument, Exit, ParseError, ParserContext, Program
from invoke.main import program

from commands.command import exit_with
from torchneuron.core.errors import InputError


class _Program(Program):  # type: ignore[misc] # Invoke's own types are not read
    """Invoke's own, but for what it says of a line it cannot read, and for options it would ignore."""

    def parse_tasks(self) -> None:
        given = set(self.argv[1:])
        contexts = {context.name: context for context in self.collection.to_contexts()}
        self.core.unparsed = _with_names(self.core.unparsed, contexts)
        try:
            super().parse_tasks()
            _refuse_core_options(self.core[0].args.values(), self.tasks, given, self.core.remainder)
        except ParseError as error:
            raise exit_with(_told(error, self.parser.contexts)) from None
        except ValueError as error:  # Invoke's own conversions: --command-timeout abc
            raise exit_with(InputError("invoke cannot read this command line.", why=str(error))) from None
        except InputError as error:
            raise exit_with(error) from None

    def parse_cleanup(self) -> None:
        try:
            super().parse_cleanup()
        except ParseError as error:  # --help for a command that there is not
            raise exit_with(_told(error, self.parser.contexts)) from None
        except Exit as error:  # with a message: --list of a group that there is not
            raise exit_with(InputError(error.message, do="See invoke --list.")) if error.message else error from None


# Commands with an optional value that needs no name. Invoke supports this for required values only.
_NAMELESS = {"setup.logs": "--task"}


def _with_names(words: Sequence[str], contexts: Mapping[str, ParserContext]) -> list[str]:
    """The command line with `setup.logs -i ID 09` as `setup.logs -i ID --task 09`."""
    named: list[str] = []
    option, is_value = "", False
    flags: Mapping[str, Argument] = {}
    for word in words:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            is_value = word in flags and flags[word].takes_value
            option = "" if word.partition("=")[0] == option else option
        elif option:
            named.append(option)
            option = ""
        elif word in _NAMELESS:
            option, flags = _NAMELESS[word], contexts[word].flags
        named.append(word)
    return named


# Invoke's own options that work here; each ends without running a command. --version and --print-completion-script do
# before the commands are loaded, and are ignored behind one.
_WORKING = {"complete", "help", "list"}
_OF_LISTS = {"list-depth", "list-format"}


def _refuse_core_options(
    core: Iterable[Argument], commands: Sequence[ParserContext], given: Collection[str], remainder: str
) -> None:
    """Raise InputError for an option of Invoke's own that has no effect here: Invoke takes them anywhere.

    Whoever adds --dry to a purchase must not have bought.
    """
    options = list(core)
    used = {option.name for option in options if option.got_value}
    working = _WORKING | (_OF_LISTS if "list" in used else set())
    name = commands[-1].name if commands else ""
    for option in options:
        if option.got_value and option.name not in working:
            raise _has_no(option, name, commands, given)
    if remainder and not used & _WORKING:
        raise InputError(f"invoke takes nothing after --: {remainder!r}.", do="Put the options before it, or drop it.")
    known = {flag for option in options for flag in flags(option)}
    for command in commands:
        for option in command.args.values():
            values = option.value if isinstance(option.value, list) else [option.value]
            if wrong := next((value for value in values if value in known), ""):
                raise InputError(
                    f"invoke {command.name}: {flags(option)[0]} needs a value, and {wrong} is an option of invoke.",
                    do=f"See invoke {command.name} --help.",
                )


def _has_no(option: Argument, name: str, commands: Sequence[ParserContext], given: Collection[str]) -> InputError:
    written = next((flag for flag in flags(option) if flag in given), flags(option)[0])
    whose = f"invoke {name}" if name else "invoke"
    own = [command.name for command in commands if written in command.flags]
    if own:
        do = f"Options stand after the command: invoke {own[0]} {written}{'' if option.kind is bool else ' …'}"
    elif option.name == "dry" and any("--dry-run" in command.flags for command in commands):
        do = f"To see what would happen, and change nothing: {whose} --dry-run"
    else:
        do = f"See {whose} --help."
    return InputError(
        f"{whose} has no option {written}. Nothing was run.",
        why=f"Invoke's own --{option.name} has no effect on this project's commands.",
        do=do,
    )


def flags(option: Argument) -> list[str]:
    return [f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in option.names]


def take_over() -> None:
    """Have the running `invoke` tell what it cannot read in this project's way."""
    program.__class__ = _Program


def _told(error: ParseError, commands: Iterable[str]) -> InputError:
    """Invoke's error in our words; in its own where it is none of the two that people make."""
    from torchneuron.core.text import unknown_name

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
