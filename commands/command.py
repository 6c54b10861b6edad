"""What every command has in common: its short options, and how its failures are told."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any, TypeVar

from invoke import Exit, Task, task

from torchneuron.core.errors import TorchNeuronError

_Options = TypeVar("_Options")

# Invoke would make one of every option's first free letter: -r the reservation in one command and the region in the
# next, -d a dry run here and there the end of the machine. A letter means one thing, or nothing.
_LETTERS = {
    "duration": "d",
    "instance_id": "i",
    "output": "o",
    "region": "r",
    "secret_arn": "s",
    "type": "t",
    "yes": "y",
}


class _Command(Task):  # type: ignore[misc] # Invoke's own types are not read
    """A task whose options have the letters above, and no others."""

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        options: dict[str, Any] = super().arg_opts(name, default, taken_names)
        letter = _LETTERS.get(name)
        options["names"] = [options["names"][0], *([letter] if letter else [])]
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Invoke takes the help texts out of the task here, and calls this once more before it shows them."""
        texts: dict[str, str] = dict(self.help)  # type: ignore[has-type] # as above
        try:
            arguments: list[Any] = super().get_arguments(ignore_unknown_help)
            return arguments
        finally:
            self.help = texts


def exit_with(error: TorchNeuronError) -> Exit:
    """Tell what failed; the end of this process, with the exit status for it."""
    from torchneuron.core import display

    display.show_error(error)
    return Exit(code=error.exit_status)


def _unusable(error: OSError) -> TorchNeuronError:
    """What is told of a full disk or a file that cannot be used; standard output is given up if it is the one."""
    from torchneuron.core import display, files

    if error.filename is None:
        display.give_up_stdout()
    return files.unusable(error)


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """An Invoke task. Everything it can fail with ends here, as one message and an exit status: 2 for what was
    refused before anything changed, 3 for a purchase whose outcome is unknown, 130 for Ctrl-C, 1 otherwise.
    """

    def wrap(body: Callable[..., None]) -> Any:
        @functools.wraps(body)
        def told(*args: Any, **kwargs: Any) -> None:
            try:
                body(*args, **kwargs)
            except TorchNeuronError as error:
                raise exit_with(error) from None
            except OSError as error:
                if isinstance(error, ConnectionError):
                    raise
                raise exit_with(_unusable(error)) from None
            except KeyboardInterrupt:
                raise Exit(message="Interrupted. The same command takes up where it stopped.", code=130) from None

        return task(klass=_Command, **options)(told)

    return wrap


def command_with(options: type[_Options]) -> Callable[[Callable[[_Options], None]], Any]:
    """An Invoke task whose options are the fields of a dataclass, and their help the fields' metadata.

    The function gets an instance. A field that is a tuple is an option that can be repeated.
    """
    known = dataclasses.fields(options)  # type: ignore[arg-type] # a TypeVar cannot be bound to dataclasses
    repeated = [field.name for field in known if field.default == ()]

    def wrap(body: Callable[[_Options], None]) -> Any:
        @functools.wraps(body)
        def run(_context: Any, **given: Any) -> None:
            body(options(**{name: tuple(value or ()) if name in repeated else value for name, value in given.items()}))

        parameters = [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=None if field.name in repeated else field.default)
            for field in known
        ]
        context = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = Signature([context, *parameters])  # type: ignore[attr-defined] # what Invoke reads
        return command(iterable=repeated, help={field.name: field.metadata["help"] for field in known})(run)

    return wrap
