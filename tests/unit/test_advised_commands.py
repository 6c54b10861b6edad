"""Every `invoke` command line that a message, README or the docs suggest is one that the real program accepts."""

import ast
import re
from pathlib import Path

import pytest
from invoke import ParseError
from invoke.main import program
from invoke.parser import Parser

import tasks
from commands.command_line import flags

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *(path for folder in ("commands", "torchneuron", "stacks", "rehearsal") for path in (ROOT / folder).rglob("*.py")),
    ROOT / "README.md",
    *(ROOT / "docs").glob("*.md"),
]
CONTEXTS = tasks.namespace.to_contexts()
BY_NAME = {name: context for context in CONTEXTS for name in (context.name, *context.aliases)}
COMMAND = re.compile(r"\binvoke ((?:[a-z][\w.-]*)?\w)(?![\w\0])([^\n]*)")
REQUIRED = {
    "cb.purchase": {"--offering-id": "cb-0123456789abcdef0"},
    "cb.extend": {"--reservation-id": "cr-0123456789abcdef0", "--duration": "24"},
    "cb.describe": {"--reservation-id": "cr-0123456789abcdef0"},
    "cb.cancel": {"--reservation-id": "cr-0123456789abcdef0"},
    "cb.save-params": {"--reservation-id": "cr-0123456789abcdef0"},
    "cb.wait": {"--until": "active"},
    "run-tasks": {"--file": "tasks.json"},
}
"""The options that each command refuses to run without, with a value."""


def texts(path):
    """The string literals of a Python file without its docstrings, or the whole of another file.

    A value in an f-string becomes a NUL.
    """
    if path.suffix != ".py":
        yield path.read_text()
        return
    tree = ast.parse(path.read_text())
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def problems(text):
    """The command lines in a text that would be refused.

    A command without an option is only mentioned by its name, unless it is part of a chain.
    """
    for task, rest in COMMAND.findall(text):
        context = BY_NAME.get(task)
        if context is None:
            continue
        arguments = {flag: argument for argument in context.args.values() for flag in flags(argument)}
        words, is_composed = [task], False
        remaining = [word.strip("`\"'.,;:()|…") for word in rest.replace("[", "").replace("]", "").split()]
        while remaining and (remaining[0].startswith("-") or "\0" in remaining[0]):
            option = remaining.pop(0)
            if "\0" in option and not option.startswith("-"):  # options in a value
                is_composed = True
                continue
            name, _, value = option.partition("=")
            words.append(option)
            argument = arguments.get(name)
            if argument and argument.takes_value and not value and remaining:
                words.append(remaining.pop(0).replace("\0", "value") or "value")
        is_chained = bool(remaining) and rest.split()[len(rest.split()) - len(remaining)] == "&&"
        if len(words) == 1 and not is_chained:
            continue
        try:
            Parser(contexts=CONTEXTS).parse_argv(words)
        except ParseError as error:
            yield f"{' '.join(words)}: {error}"
            continue
        given = {flag for word in words[1:] if (flag := word.partition("=")[0]).startswith("-")}
        for option in REQUIRED.get(context.name, ()):
            if not is_composed and not given & set(flags(arguments[option])):
                yield f"{' '.join(words)}: {option} is missing"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("`invoke cb.wait && invoke deploy`", 1),
        ("invoke cb.wait --until active -r \0 && invoke deploy", 0),
        ("invoke cb.describe -r \0 shows it", 1),
        ("See it with invoke cb.describe.", 0),
        ("invoke cb.cancel --all", 1),
        ("invoke cb.extend -d 24 --reservation-id \0 buys it", 0),
        ("invoke cb.save-params \0", 0),
    ],
)
def test_command_line_that_would_be_refused_is_found(text, count):
    assert len(list(problems(text))) == count


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_suggested_command_lines_are_accepted(path):
    assert [problem for text in texts(path) for problem in problems(text)] == []


@pytest.mark.parametrize(("task", "option"), [(task, option) for task in REQUIRED for option in REQUIRED[task]])
def test_required_option_is_refused_when_it_is_missing(task, option, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    others = [word for name, value in REQUIRED[task].items() if name != option for word in (name, value)]
    with pytest.raises(SystemExit) as ended:
        program.run(["invoke", task, *others])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err
