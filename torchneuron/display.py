"""The one place that writes to the terminal: what a person reads, and how a question is asked.

Results go to standard output and everything about their making (progress, warnings, errors) to
standard error, so that a pipe gets the results alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.prompt import Confirm
from rich.table import Table

from torchneuron.errors import InputError, TorchNeuronError

# Where there is no terminal to ask, tables get the room their content needs.
_WIDTH_OF_A_PIPE = 160


@functools.cache
def console(*, stderr: bool) -> Console:
    """The console for results, or for what is told about their making.

    One of each: a line goes above a progress display only when both are the same console's.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # Text here is AWS's and the user's: an ARN with ":secret:" in it is not an emoji.
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if terminal else _WIDTH_OF_A_PIPE)


def _print_lines(text: str) -> None:
    """Text as a result, without the spaces that only fill up lines, never wrapped: it can be copied whole."""
    for line in text.splitlines():
        print(line.rstrip())


def say(text: str = "") -> None:
    """A line of a result, exactly as given: a script or a password has to survive it."""
    print(text)


def note(text: str) -> None:
    """A line about the work under way."""
    console(stderr=True).print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    console(stderr=True).print(f"[yellow]Warning:[/yellow] {escape(text)}", soft_wrap=True)


def show_error(error: TorchNeuronError) -> None:
    """What happened, why, and what to do: a line or more each."""
    output = console(stderr=True)
    output.print(f"[red]Error:[/red] {escape(error.what)}", soft_wrap=True)
    for part in (error.why, error.do):
        if part:
            output.print(part, markup=False, soft_wrap=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table of text. Headings that start with `>` are right-aligned, without the sign."""
    made = Table(title=title or None, title_justify="left")
    for heading in headings:
        right = heading.startswith(">")
        made.add_column(heading.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    output = console(stderr=False)
    if output.is_terminal:
        output.print(made)
        return
    with output.capture() as capture:
        output.print(made)
    _print_lines(capture.get())


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line, values aligned. A value of several lines is indented whole."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        lines = value.splitlines() or [""]
        _print_lines(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            _print_lines(" " * (width + 2) + line)


def confirm(question: str, *, default: bool = False, otherwise: str) -> bool:
    """Ask on the terminal. `otherwise` says what to do where nobody can answer: InputError is raised then."""
    if not sys.stdin.isatty():
        raise InputError("This needs an answer, and there is no terminal to ask on.", why=question, do=otherwise)
    return Confirm.ask(escape(question), default=default, console=console(stderr=True))


def waiting(what: str) -> Progress:
    """A spinner with the time gone by, for anything that may take over two seconds.

    Use as a context manager; nothing is drawn where standard error is not a terminal.
    """
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    progress.add_task(escape(what), total=None)
    return progress
