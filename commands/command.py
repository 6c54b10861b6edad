"""What every command shares: how its options are declared, and how its failures are shown."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from invoke import Exit, Task, task

from torchneuron.core.errors import TorchNeuronError

Options = TypeVar("Options")

# Invoke would give each option the first free letter of its name, so that -r means a reservation in one command and a
# region in the next. Here a letter means the same option in every command.
_LETTERS = {
    "duration": "d",
    "instance_id": "i",
    "output": "o",
    "region": "r",
    "secret_arn": "s",
    "type": "t",
    "yes": "y",
}


class _Command(Task):  # type: ignore[misc] # Invoke is not typed
    """A task whose options have the letters above, and no others."""

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        options: dict[str, Any] = super().arg_opts(name, default, taken_names)
        letter = _LETTERS.get(name)
        options["names"] = [options["names"][0], *([letter] if letter else [])]
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Invoke removes the help texts from the task here, and calls this once more before it shows them."""
        texts: dict[str, str] = dict(self.help)  # type: ignore[has-type] # Invoke is not typed
        try:
            arguments: list[Any] = super().get_arguments(ignore_unknown_help)
            return arguments
        finally:
            self.help = texts


def command(options_class: type[Options]) -> Callable[[Callable[[Options], None]], Any]:
    """Make an Invoke task of a function that takes its options as one frozen dataclass.

    1. Declare the dataclass in the library, in a module that imports nothing heavy, with the fields of
       `torchneuron.core.options`: `region: str = option("AWS region [default: …]")`, `yes: bool = flag("Do not ask")`.
       The field `dry_run` becomes `--dry-run`; `parse=whole_number` makes a field an int.
    2. Write `@command(SearchOptions)`, then `def search(options: SearchOptions) -> None:`.
    3. The docstring is the help: one sentence for `invoke --list`, then "Example: invoke …".
    4. Import the library in the body, and pass `options` whole to one function.

    Every failure becomes one message and an exit status: 2 for what was refused before anything changed, 3 for a
    purchase whose outcome is unknown, 130 for Ctrl-C, 1 otherwise.
    """
    fields = dataclasses.fields(options_class)  # type: ignore[arg-type] # a type variable cannot be bound to dataclasses

    def decorate(body: Callable[[Options], None]) -> Any:
        @functools.wraps(body)
        def run(_: Any, **given: Any) -> None:
            with _failures_shown():
                body(options_class(**_values(fields, given)))

        run.__signature__ = _signature(fields)  # type: ignore[attr-defined] # Invoke reads the options from it
        return task(
            klass=_Command,
            help={field.name: field.metadata["help"] for field in fields},
            iterable=[field.name for field in fields if isinstance(field.default, tuple)],
            optional=[field.name for field in fields if field.metadata.get("value_is_optional")],
        )(run)

    return decorate


@contextmanager
def _failures_shown() -> Iterator[None]:
    try:
        yield
    except TorchNeuronError as error:
        raise exit_with(error) from None
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise exit_with(_unusable(error)) from None
    except KeyboardInterrupt:
        raise Exit(message="Interrupted. Run the same command again to resume.", code=130) from None


def exit_with(error: TorchNeuronError) -> Exit:
    """Show the error; returns the exception that ends the process with its exit status."""
    from torchneuron.core import display

    display.show_error(error)
    return Exit(code=error.exit_status)


def _signature(fields: Iterable[dataclasses.Field[Any]]) -> inspect.Signature:
    """The signature from which Invoke makes the options, by the type of each default."""
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=_invoke_default(field))
        for field in fields
    ]
    return inspect.Signature([context, *options])


def _invoke_default(field: dataclasses.Field[Any]) -> Any:
    if isinstance(field.default, tuple):
        return None
    return False if field.default is False else ""


def _values(fields: Iterable[dataclasses.Field[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields whose option was given, parsed."""
    values = {}
    for field in fields:
        value, parse = given[field.name], field.metadata.get("parse")
        if not value:
            continue
        if isinstance(field.default, tuple):
            value = tuple(value)
        elif parse:
            value = parse(f"--{field.name.replace('_', '-')}", value)
        values[field.name] = value
    return values


def _unusable(error: OSError) -> TorchNeuronError:
    """The error for a full disk or an unusable file. Where standard output is the file, nothing more goes there."""
    from torchneuron.core import display, files

    if error.filename is None:
        display.give_up_stdout()
    return files.unusable(error)
