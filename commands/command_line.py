"""Reports an invalid command line like every other input error, with exit status 2.

Invoke itself prints "No idea what '--durtion' is!" and exits with 1. Its `invoke` command always runs the program
`invoke.main.program`, so `install` changes the class of that object. Invoke loads `tasks.py`, which calls `install`,
before it parses the command line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from invoke import Argument, Exit, ParseError, ParserContext, Program
from invoke.main import program

from commands.command import exit_with
from torchneuron.core.errors import InputError


class _Program(Program):  # type: ignore[misc] # Invoke is not typed
    """Invoke's program, with errors for invalid command lines and for core options that have no effect."""

    def parse_tasks(self) -> None:
        given = set(self.argv[1:])
        contexts = {context.name: context for context in self.collection.to_contexts()}
        self.core.unparsed = _with_option_names(self.core.unparsed, contexts)
        try:
            super().parse_tasks()
            _refuse_core_options(self.core[0].args.values(), self.tasks, given, self.core.remainder)
        except ParseError as error:
            raise exit_with(_explain(error, self.parser.contexts)) from None
        except ValueError as error:  # a conversion in Invoke: --command-timeout abc
            raise exit_with(InputError("Invalid command line.", why=str(error))) from None
        except InputError as error:
            raise exit_with(error) from None

    def parse_cleanup(self) -> None:
        try:
            super().parse_cleanup()
        except ParseError as error:  # --help for an unknown command
            raise exit_with(_explain(error, self.parser.contexts)) from None
        except Exit as error:  # with a message: --list for an unknown group
            raise exit_with(InputError(error.message, do="See invoke --list.")) if error.message else error from None


# Commands with an optional positional value. Invoke supports required positional values only.
_POSITIONAL = {"setup.logs": "--task"}


def _with_option_names(words: Sequence[str], contexts: Mapping[str, ParserContext]) -> list[str]:
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
        elif word in _POSITIONAL:
            option, flags = _POSITIONAL[word], contexts[word].flags
        named.append(word)
    return named


# Core options of Invoke that have an effect here. None of them runs a command. --version and --print-completion-script
# work only before the first command: Invoke handles them before it loads the commands.
_SUPPORTED = {"complete", "help", "list"}
_WITH_LIST = {"list-depth", "list-format"}


def _refuse_core_options(
    core: Iterable[Argument], commands: Sequence[ParserContext], given: Collection[str], remainder: str
) -> None:
    """Raise InputError for core options that have no effect here. Invoke accepts them anywhere and ignores them.

    A purchase with --dry must not buy.
    """
    options = list(core)
    used = {option.name for option in options if option.got_value}
    supported = _SUPPORTED | (_WITH_LIST if "list" in used else set())
    name = commands[-1].name if commands else ""
    for option in options:
        if option.got_value and option.name not in supported:
            raise _unsupported(option, name, commands, given)
    if remainder and not used & _SUPPORTED:
        raise InputError(f"Unexpected arguments after --: {remainder!r}.", do="Put options before --, or remove it.")
    known = {flag for option in options for flag in flags(option)}
    for command in commands:
        for option in command.args.values():
            values = option.value if isinstance(option.value, list) else [option.value]
            if core_option := next((value for value in values if value in known), ""):
                raise InputError(
                    f"invoke {command.name}: {flags(option)[0]} needs a value; {core_option} is an option of Invoke.",
                    do=f"See invoke {command.name} --help.",
                )


def _unsupported(option: Argument, name: str, commands: Sequence[ParserContext], given: Collection[str]) -> InputError:
    written = next((flag for flag in flags(option) if flag in given), flags(option)[0])
    prefix = f"invoke {name}" if name else "invoke"
    own = [command.name for command in commands if written in command.flags]
    if own:
        do = f"Put options after the command: invoke {own[0]} {written}{'' if option.kind is bool else ' …'}"
    elif option.name == "dry" and any("--dry-run" in command.flags for command in commands):
        do = f"To preview without changes: {prefix} --dry-run"
    else:
        do = f"See {prefix} --help."
    return InputError(
        f"{prefix} has no option {written}. Nothing was run.",
        why=f"Invoke's core option --{option.name} is not supported here.",
        do=do,
    )


def flags(option: Argument) -> list[str]:
    return [f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in option.names]


def install() -> None:
    """Make the running `invoke` use the messages of this module."""
    program.__class__ = _Program


def _explain(error: ParseError, commands: Iterable[str]) -> InputError:
    """The InputError for a parse error of Invoke."""
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
                f"invoke {name}: unexpected argument {given!r}.",
                why="Each value follows the name of its option. Quote values that contain spaces.",
                do=do,
            )
        if given.startswith("-"):
            return InputError(f"invoke has no option {given}.", do="See invoke --help.")
        return InputError(f"Unknown command {given!r}.", why=unknown_name(given, list(commands)), do=do)
    if valueless := re.match(r"Flag <Argument: ([\w-]+).* needed value", str(error)):
        return InputError(f"invoke {name}: --{valueless[1]} needs a value.", do=do)
    return InputError(f"invoke {name}: {error}", do=do)
