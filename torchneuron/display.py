"""The one place that writes to the terminal: what a person reads, and how a question is asked.

Results go to standard output and everything about their making (progress, warnings, errors) to
standard error, so that a pipe gets the results alone.
"""

from __future__ import annotations

import codecs
import functools
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.measure import Measurement
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
        say(line.rstrip())


def say(text: str = "") -> None:
    """A line of a result, exactly as given: a script or a password has to survive it.

    Where nobody reads any more (`| head`) it goes nowhere: what a command does is not undone by that.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _give_up_stdout()


def _give_up_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def stream(pieces: Iterable[bytes]) -> None:
    """Pieces of a text as they come, as a result. Where nobody reads any more, no more of them are asked for."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    try:
        for piece in pieces:
            sys.stdout.write(decoder.decode(piece))
            sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()


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
    _print_table(made)


@dataclass(frozen=True)
class Layout:
    """One way to lay a table out: headings as in `table`, and rows in groups that belong together.

    Cells may have several lines. The first column is for ids: it is never broken.
    """

    headings: Sequence[str]
    groups: Sequence[Sequence[Sequence[str]]]


def fitting_table(layouts: Sequence[Layout]) -> None:
    """The first of `layouts` that is no wider than the terminal, else the last one, squeezed."""
    made = [_grouped(layout) for layout in layouts]
    output = console(stderr=False)
    unlimited = output.options.update(max_width=10_000)
    fitting = [one for one in made if Measurement.get(output, unlimited, one).maximum <= output.width]
    _print_table(fitting[0] if fitting else made[-1])


def _grouped(layout: Layout) -> Table:
    lines_between = any(len(group) > 1 or "\n" in "".join(group[0]) for group in layout.groups)
    made = Table()
    lines = max(heading.count("\n") for heading in layout.headings)
    for index, given in enumerate(layout.headings):
        right = given.startswith(">")
        # rich puts headings at the bottom, whatever it is told: these have to stand above what they head.
        heading = given + "\n " * (lines - given.count("\n"))
        justify: JustifyMethod = "right" if right else "left"
        made.add_column(heading.lstrip(">"), justify=justify, overflow="fold", no_wrap=index == 0)
    for group in layout.groups:
        for row in group:
            made.add_row(*(escape(cell) for cell in row), end_section=lines_between and row is group[-1])
    return made


def _print_table(made: Table) -> None:
    output = console(stderr=False)
    if output.is_terminal:
        output.print(made)
        return
    with output.capture() as capture:
        output.print(made)
    _print_lines(capture.get())


def width() -> int:
    """How many characters a line of results may have."""
    return console(stderr=False).width


def plain_characters() -> bool:
    """Whether results can have no character beyond ASCII, by the encoding of standard output."""
    return console(stderr=False).options.ascii_only


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line, values aligned. A value of several lines is indented whole."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        lines = value.splitlines() or [""]
        _print_lines(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            _print_lines(" " * (width + 2) + line)


def confirm(question: str, *, default: bool = False, otherwise: str, unchanged: str = "") -> bool:
    """Ask on the terminal. `otherwise` says what to do where nobody answers: InputError is raised then.

    `unchanged` says what has not happened, where that has to be told after Ctrl-C and where nobody answers, too.
    """
    told = f" {unchanged}" if unchanged else ""
    if not sys.stdin.isatty():
        raise InputError(f"This needs an answer, and there is no terminal to ask on.{told}", why=question, do=otherwise)
    try:
        return Confirm.ask(escape(question), default=default, console=console(stderr=True))
    except EOFError:  # Ctrl-D
        console(stderr=True).print()
        raise InputError(f"The question was not answered.{told}", why=question, do=otherwise) from None
    except KeyboardInterrupt:
        console(stderr=True).print()
        if unchanged:
            note(unchanged)
        raise


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


def retell(progress: Progress, what: str) -> None:
    """Say something else beside the spinner of `waiting`. Safe from any thread."""
    progress.update(progress.task_ids[0], description=escape(what))
