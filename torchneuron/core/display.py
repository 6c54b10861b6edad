"""The one place that writes to the terminal: what a person reads, and how a question is asked.

Results go to standard output and everything about their making (progress, warnings, errors) to
standard error, so that a pipe gets the results alone. What others wrote (tags, logs, AWS's messages) passes
`text.plain` on its way: in `_PlainConsole`, `say` and `stream`.
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

# Where there is no terminal to ask, tables get the room their content needs.
_WIDTH_OF_A_PIPE = 160


class _PlainConsole(Console):
    """A console whose only control sequences and styles are its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


@functools.cache
def console(*, stderr: bool) -> Console:
    """The console for results, or for what is told about their making.

    One of each: a line goes above a progress display only when both are the same console's.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # Text here is AWS's and the user's: ":secret:" in an ARN is not an emoji, "[red]" in a tag is not a colour.
    return _PlainConsole(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=None if terminal else _WIDTH_OF_A_PIPE
    )


def _print_lines(text: str) -> None:
    """Text as a result, without the spaces that only fill up lines, never wrapped: it can be copied whole."""
    for line in text.splitlines():
        say(line.rstrip())


def say(text: str = "") -> None:
    """A line of a result, as given but for control characters: a script or a password has to survive it.

    Where nobody reads any more (`| head`) it goes nowhere: what a command does is not undone by that.
    """
    try:
        print(plain(text), flush=True)
    except BrokenPipeError:
        give_up_stdout()


def give_up_stdout() -> None:
    """Let everything that is still printed as a result go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def stream(pieces: Iterable[bytes]) -> None:
    """Pieces of a text as they come, as a result. Where nobody reads any more, no more of them are asked for."""
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
    """A line about the work under way."""
    console(stderr=True).print(plain(text), soft_wrap=True)


def warn(text: str) -> None:
    console(stderr=True).print(Text.assemble(("Warning:", "yellow"), " ", plain(text)), soft_wrap=True)


def show_error(error: TorchNeuronError) -> None:
    """What happened, why, and what to do: a line or more each."""
    if isinstance(error, Declined):
        note(error.what)
        return
    console(stderr=True).print(Text.assemble(("Error:", "red"), " ", plain(error.what)), soft_wrap=True)
    for part in filter(None, (error.why, error.do)):
        note(part)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table of text. Headings that start with `>` are right-aligned, without the sign."""
    made = Table(title=title or None, title_justify="left")
    for heading in headings:
        right = heading.startswith(">")
        made.add_column(heading.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(plain, row))
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
        lines = plain(value).splitlines() or [""]
        _print_lines(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            _print_lines(" " * (width + 2) + line)


_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def confirm(question: str, *, default: bool = False, otherwise: str, unchanged: str = "") -> bool:
    """Ask on the terminal until the answer is yes or no; an empty one is the `default`.

    What was typed before the question is discarded: nobody has agreed to what they have not seen. Raises InputError
    without a terminal and after Ctrl-D; `otherwise` is what to do then. `unchanged` says what has not happened, for
    these cases and for Ctrl-C.
    """
    why_not = f" {unchanged}" if unchanged else ""
    if not sys.stdin.isatty():
        raise InputError(f"Not a terminal: the question cannot be asked.{why_not}", why=question, do=otherwise)
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
        raise InputError(f"Cancelled.{why_not}", why=question, do=otherwise) from None
    except KeyboardInterrupt:
        output.print()
        if unchanged:
            note(unchanged)
        raise


def _typed_line() -> str:
    """A line from the terminal itself: what Python's buffers still hold was typed before. Raises EOFError."""
    line = b""
    while not line.endswith(b"\n"):
        if not (typed := os.read(sys.stdin.fileno(), 1024)):
            raise EOFError
        line += typed
    return line.decode(errors="replace")


def waiting(what: str) -> Progress:
    """A spinner with the time gone by, for anything that may take over two seconds.

    Use as a context manager; nothing is drawn where standard error is not a terminal.
    """
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


def retell(progress: Progress, what: str) -> None:
    """Say something else beside the spinner of `waiting`. Safe from any thread."""
    progress.update(progress.task_ids[0], description=plain(what))
