"""All output to the terminal, and questions to the user.

Results go to standard output; progress, warnings and errors go to standard error. All text passes `text.plain`, since
tags, logs and AWS's messages are untrusted: in `_PlainConsole`, `say` and `stream`.
"""

from __future__ import annotations

import codecs
import functools
import os
import sys
import termios
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from torchneuron.core.errors import Declined, InputError, TorchNeuronError
from torchneuron.core.text import PlainStream, plain

# The width of tables when standard output is not a terminal.
_WIDTH_OF_A_PIPE = 160


class _PlainConsole(Console):
    """A console that removes control sequences from the text it prints."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


@functools.cache
def console(*, stderr: bool) -> Console:
    """The console for standard output or standard error.

    Cached: rich prints a line above a progress display only if both use the same console.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # ":secret:" in an ARN is not an emoji, and "[red]" in a tag is not a colour.
    return _PlainConsole(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=None if terminal else _WIDTH_OF_A_PIPE
    )


def _print_lines(text: str) -> None:
    """Print lines of a result, without trailing spaces and never wrapped."""
    for line in text.splitlines():
        say(line.rstrip())


def say(text: str = "") -> None:
    """Print a line of a result, unchanged but for control characters.

    A closed pipe (`| head`) is ignored: the command completes its work.
    """
    try:
        print(plain(text), flush=True)
    except BrokenPipeError:
        give_up_stdout()


def give_up_stdout() -> None:
    """Redirect standard output to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def stream(pieces: Iterable[bytes]) -> None:
    """Print pieces of UTF-8 text as they arrive. Stops reading `pieces` when the pipe is closed."""
    decoder, shown = codecs.getincrementaldecoder("utf-8")(errors="replace"), PlainStream()
    try:
        for piece in pieces:
            sys.stdout.write(shown.feed(decoder.decode(piece)))
            sys.stdout.flush()
        sys.stdout.write(shown.feed(decoder.decode(b"", final=True)) + shown.finish())
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()


def note(text: str) -> None:
    """Print a line about the progress of the work."""
    console(stderr=True).print(plain(text), soft_wrap=True)


def warn(text: str) -> None:
    console(stderr=True).print(Text.assemble(("Warning:", "yellow"), " ", plain(text)), soft_wrap=True)


def show_error(error: TorchNeuronError) -> None:
    """Print what happened, why, and what to do."""
    if isinstance(error, Declined):
        note(error.what)
        return
    console(stderr=True).print(Text.assemble(("Error:", "red"), " ", plain(error.what)), soft_wrap=True)
    for part in filter(None, (error.why, error.do)):
        note(part)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table. A heading that starts with `>` makes its column right-aligned."""
    made = Table(title=title or None, title_justify="left")
    for heading in headings:
        right = heading.startswith(">")
        made.add_column(heading.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(plain, row))
    _print_table(made)


@dataclass(frozen=True)
class Layout:
    """A layout of a table: headings as in `table`, and groups of related rows.

    Cells may have several lines. The first column, for ids, never wraps.
    """

    headings: Sequence[str]
    groups: Sequence[Sequence[Sequence[str]]]


def fitting_table(layouts: Sequence[Layout]) -> None:
    """Print the first of `layouts` that fits the terminal, or else the last one, wrapped."""
    tables = [_grouped(layout) for layout in layouts]
    output = console(stderr=False)
    unlimited = output.options.update(max_width=10_000)
    fitting = [table for table in tables if Measurement.get(output, unlimited, table).maximum <= output.width]
    _print_table(fitting[0] if fitting else tables[-1])


def _grouped(layout: Layout) -> Table:
    lines_between = any(len(group) > 1 or "\n" in "".join(group[0]) for group in layout.groups)
    made = Table()
    lines = max(heading.count("\n") for heading in layout.headings)
    for index, text in enumerate(layout.headings):
        right = text.startswith(">")
        # rich aligns headings at the bottom; trailing blank lines move them to the top.
        heading = text + "\n " * (lines - text.count("\n"))
        justify: JustifyMethod = "right" if right else "left"
        made.add_column(heading.lstrip(">"), justify=justify, overflow="fold", no_wrap=index == 0)
    for group in layout.groups:
        for row in group:
            made.add_row(*map(plain, row), end_section=lines_between and row is group[-1])
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
    """The width of standard output in characters."""
    return console(stderr=False).width


def plain_characters() -> bool:
    """Whether the encoding of standard output is limited to ASCII."""
    return console(stderr=False).options.ascii_only


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair per line, with aligned values. Values may have several lines."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        lines = plain(value).splitlines() or [""]
        _print_lines(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            _print_lines(" " * (width + 2) + line)


_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def confirm(question: str, *, default: bool = False, otherwise: str, unchanged: str = "") -> bool:
    """Ask on the terminal until the answer is yes or no; an empty answer is the `default`.

    Input typed before the question is discarded. Without a terminal and after Ctrl-D, raises InputError with
    `otherwise` as the next step. `unchanged`, such as "Nothing was bought.", is shown then and after Ctrl-C.
    """
    consequence = f" {unchanged}" if unchanged else ""
    if not sys.stdin.isatty():
        raise InputError(f"Not a terminal: the question cannot be asked.{consequence}", why=question, do=otherwise)
    output = console(stderr=True)
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    try:
        while True:
            output.print(f"{plain(question)} [{'Y/n' if default else 'y/N'}] ", end="", soft_wrap=True)
            answer = _typed_line().strip().lower()
            if not answer:
                return default
            if answer in _ANSWERS:
                return _ANSWERS[answer]
            output.print("Please answer yes or no.")
    except EOFError:  # Ctrl-D
        output.print()
        raise InputError(f"Cancelled.{consequence}", why=question, do=otherwise) from None
    except KeyboardInterrupt:
        output.print()
        if unchanged:
            note(unchanged)
        raise


def _typed_line() -> str:
    """A line read from the terminal, bypassing Python's buffers, which may hold earlier input. Raises EOFError."""
    line = b""
    while not line.endswith(b"\n"):
        if not (typed := os.read(sys.stdin.fileno(), 1024)):
            raise EOFError
        line += typed
    return line.decode(errors="replace")


def waiting(what: str) -> Progress:
    """A spinner with the elapsed time, as a context manager. Not shown unless standard error is a terminal."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    progress.add_task(plain(what), total=None)
    return progress


def update_waiting(progress: Progress, what: str) -> None:
    """Change the text of `waiting`. Thread-safe."""
    progress.update(progress.task_ids[0], description=plain(what))
