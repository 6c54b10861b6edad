"""What every command has in common: its short options, and how its failures are told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from invoke import Exit, Task, task

from torchneuron.core.errors import TorchNeuronError

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
