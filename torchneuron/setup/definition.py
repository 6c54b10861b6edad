"""Read and check a task file: variables, and tasks in the order in which they run.

Its format is `task-file.schema.json`, beside the shipped task file. Checks that a schema cannot express are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron.core.config import PROJECT_ROOT
from torchneuron.core.errors import InputError
from torchneuron.core.schema import Problem, find_problems, read_json
from torchneuron.core.text import unknown_name
from torchneuron.setup import library
from torchneuron.setup.references import Reference

SHIPPED = PROJECT_ROOT / "setup_tasks" / "code-server-setup.json"
"""The project's task file."""
SCHEMA = SHIPPED.with_name("task-file.schema.json")
# The agent's own default for aws:runShellScript.
DEFAULT_TIMEOUT_SECONDS = 3600
# Read-only variables of bash.
_READ_ONLY = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True)
class Variable:
    """A value that the tasks may use; for a secret, a reference. `value` is None if it must be given.

    A change of a `volatile` variable does not make finished tasks run again.
    """

    name: str
    value: str | None
    secret: bool = False
    pattern: str | None = None
    volatile: bool = False


@dataclass(frozen=True)
class Task:
    """A task as written: `text` is the shell script before variables are replaced.

    `path` is its place in the file (`tasks[3]`), for messages. `timeout_seconds` covers all tries together.
    """

    path: str
    id: str
    name: str
    description: str
    text: str
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    retries: int = 0
    only_if: str = ""
    optional: bool = False


@dataclass(frozen=True)
class TaskFile:
    """A valid task file."""

    path: Path
    variables: Mapping[str, Variable]
    tasks: tuple[Task, ...]


def load(path: Path) -> TaskFile:
    """Read the task file at `path`. Raises InputError naming all its problems."""
    document = read_json(path)
    problems = find_problems(document, read_json(SCHEMA))
    if isinstance(document, dict) and isinstance(document.get("tasks"), list):
        broken = {problem.path.split(".")[0] for problem in problems}
        problems += _find_contradictions(document, path.parent, broken)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"The task file {path} is invalid.", why=listed)
    variables = {name: _variable(name, given) for name, given in document.get("variables", {}).items()}
    tasks = (_task(f"tasks[{index}]", given, path.parent) for index, given in enumerate(document["tasks"]))
    return TaskFile(path, variables, tuple(tasks))


def fill(task_file: TaskFile, given: Mapping[str, str]) -> dict[str, str]:
    """The values of all variables, with those in `given` in place of the file's. A secret's value is its reference.

    Raises InputError for unknown names, missing values, and values that do not match their patterns.
    """
    problems = [
        Problem(name, unknown_name(name, list(task_file.variables)))
        for name in given
        if name not in task_file.variables
    ]
    values: dict[str, str] = {}
    for name, variable in task_file.variables.items():
        value = given.get(name, variable.value)
        if value is None:
            problems.append(Problem(name, "has no value: give one with --var"))
        elif variable.secret:
            problems += _bad_reference(name, value)
            values[name] = value
        elif "\0" in value or "\n" in value:
            problems.append(Problem(name, "must be one line of text"))
        elif variable.pattern and not re.fullmatch(variable.pattern, value):
            problems.append(Problem(name, f"{value!r} does not match {variable.pattern}"))
        else:
            values[name] = value
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"The variables for {task_file.path.name} are invalid.", why=listed)
    return values


def _bad_reference(name: str, value: str) -> list[Problem]:
    try:
        Reference.parse(value)
    except ValueError as error:
        return [Problem(name, str(error))]
    return []


def _variable(name: str, given: str | Mapping[str, Any]) -> Variable:
    if isinstance(given, str):
        return Variable(name, given)
    secret, volatile = bool(given.get("secret", False)), bool(given.get("volatile", False))
    return Variable(name, given.get("value"), secret, given.get("pattern"), volatile)


def _task(path: str, given: Mapping[str, Any], folder: Path) -> Task:
    text = "\n".join(given["commands"]) if "commands" in given else _script(folder, given["script"])
    if folder == SHIPPED.parent:
        text = library.without_comments(text)
    return Task(
        path=path,
        id=given["id"],
        name=given["name"],
        description=given.get("description", ""),
        text=text.rstrip("\n") if "script" in given else text,
        timeout_seconds=given.get("timeoutSeconds", DEFAULT_TIMEOUT_SECONDS),
        retries=given.get("retries", 0),
        only_if=given.get("onlyIf", ""),
        optional=given.get("optional", False),
    )


def _script(folder: Path, name: str) -> str:
    """The text of a script. Raises OSError, UnicodeError; ValueError for a path outside the task file's folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("is a symbolic link to a place outside the task file's folder: copy the file there")
    return path.read_text(encoding="utf-8")


def _find_contradictions(document: Mapping[str, Any], folder: Path, broken: set[str]) -> Iterator[Problem]:
    """Problems that the schema cannot express, in tasks that are not in `broken` ("tasks[3]")."""
    variables = document.get("variables", {})
    variables = variables if isinstance(variables, Mapping) else {}
    yield from _bad_variables(variables)
    known = list(variables)
    seen: dict[str, int] = {}
    for index, task in enumerate(document["tasks"]):
        path = f"tasks[{index}]"
        if path in broken:
            continue
        if task["id"] in seen:
            yield Problem(f"{path}.id", f"{task['id']!r} is also the id of tasks[{seen[task['id']]}]")
        seen.setdefault(task["id"], index)
        texts: dict[str, str] = {}
        try:
            texts = _texts(path, task, folder)
        except (OSError, ValueError) as error:
            yield Problem(f"{path}.script", _unreadable(task["script"], error))
        for text_path, text in texts.items():
            yield from (Problem(text_path, fault) for fault in _faults(text, known))


def _bad_variables(variables: Mapping[str, Any]) -> Iterator[Problem]:
    for name, given in variables.items():
        if name in _READ_ONLY:
            yield Problem(f"variables.{name}", "this variable is read-only in bash: choose another name")
        pattern = given.get("pattern") if isinstance(given, Mapping) else None
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem(f"variables.{name}.pattern", f"{pattern!r} is not a regular expression: {error}")


def _texts(path: str, task: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The task's shell texts by their paths: its commands or script, and its test."""
    texts = {f"{path}.onlyIf": task["onlyIf"]} if "onlyIf" in task else {}
    if "script" not in task:
        return texts | {f"{path}.commands[{line}]": text for line, text in enumerate(task["commands"])}
    script = _script(folder, task["script"])
    if not script.strip():
        raise ValueError("is empty")
    return texts | {f"{path}.script": script}


def _faults(text: str, known: list[str]) -> Iterator[str]:
    if "\0" in text:
        yield "has a NUL character, which bash cannot read"
    if "\r" in text:
        yield "has carriage returns: save it with Unix line endings"
    for name in sorted(set(PLACEHOLDER.findall(text))):
        if name not in known:
            yield (
                f"{{{{{name}}}}}: {unknown_name(name, known)}" if known else f"{{{{{name}}}}}: no variables are defined"
            )


def _unreadable(script: str, error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{script!r} is not UTF-8 text"
    if isinstance(error, FileNotFoundError):
        return f"the file {script!r} does not exist beside the task file"
    if isinstance(error, OSError):
        return f"{script!r} cannot be read: {error.strerror}"
    return f"{script!r} {error}"
