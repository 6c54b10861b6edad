"""A task file, read and checked whole before anything is sent anywhere.

The file is data: variables, and tasks in the order they run. `task-file.schema.json` beside the
shipped task file says what may stand in it; the checks that a schema cannot express are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron.core.config import PROJECT_ROOT
from torchneuron.core.errors import InputError
from torchneuron.core.schema import Problem, find_problems, read_json, unknown_name
from torchneuron.setup.references import Reference

SHIPPED = PROJECT_ROOT / "setup_tasks" / "code-server-setup.json"
"""The project's own task file."""
SCHEMA = SHIPPED.with_name("task-file.schema.json")
# The agent's own default for aws:runShellScript.
DEFAULT_TIMEOUT_SECONDS = 3600
# Bash does not let them be set.
_READ_ONLY = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True)
class Variable:
    """A value the tasks may use; of a secret, a reference to it. `value` is None when it has to come from outside.

    A change of a `volatile` one does not run again what has finished.
    """

    name: str
    value: str | None
    secret: bool = False
    pattern: str | None = None
    volatile: bool = False


@dataclass(frozen=True)
class Task:
    """One task as written: `text` is the shell script, its variables not yet filled in.

    `path` is where it stands in the file (`tasks[3]`), for messages. `timeout_seconds` is for all its tries together.
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
    """A whole task file, known to be sound."""

    path: Path
    variables: Mapping[str, Variable]
    tasks: tuple[Task, ...]


def load(path: Path) -> TaskFile:
    """The task file at `path`. Raises InputError naming every problem in it at once."""
    document = read_json(path)
    problems = find_problems(document, read_json(SCHEMA))
    if isinstance(document, dict) and isinstance(document.get("tasks"), list):
        broken = {problem.path.split(".")[0] for problem in problems}
        problems += _contradictions(document, path.parent, broken)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"The task file {path} is refused.", why=listed)
    variables = {name: _variable(name, given) for name, given in document.get("variables", {}).items()}
    tasks = (_task(f"tasks[{index}]", given, path.parent) for index, given in enumerate(document["tasks"]))
    return TaskFile(path, variables, tuple(tasks))


def fill(task_file: TaskFile, given: Mapping[str, str]) -> dict[str, str]:
    """Every variable's value, `given` ones laid over those in the file; of a secret, its reference.

    Raises InputError for names the file does not know, missing values, and values its patterns refuse.
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
            problems.append(Problem(name, "has no value; give one with --var"))
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
        raise InputError(f"The variables for {task_file.path.name} are refused.", why=listed)
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
    text = _script(folder, given["script"]).rstrip("\n") if "script" in given else "\n".join(given["commands"])
    return Task(
        path=path,
        id=given["id"],
        name=given["name"],
        description=given.get("description", ""),
        text=text,
        timeout_seconds=given.get("timeoutSeconds", DEFAULT_TIMEOUT_SECONDS),
        retries=given.get("retries", 0),
        only_if=given.get("onlyIf", ""),
        optional=given.get("optional", False),
    )


def _script(folder: Path, name: str) -> str:
    """The text of a script. Raises ValueError for a path that leaves the task file's folder, OSError, UnicodeError."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("is a symbolic link that leads out of the task file's folder: put a copy there")
    return path.read_text(encoding="utf-8")


def _contradictions(document: Mapping[str, Any], folder: Path, broken: set[str]) -> Iterator[Problem]:
    """What a schema cannot say, of the tasks that are not `broken` ("tasks[3]") already."""
    variables = document.get("variables", {})
    variables = variables if isinstance(variables, Mapping) else {}
    yield from _bad_variables(variables)
    known = list(variables)
    seen: dict[str, int] = {}
    for index, task in enumerate(document["tasks"]):
        where = f"tasks[{index}]"
        if where in broken:
            continue
        if task["id"] in seen:
            yield Problem(f"{where}.id", f"{task['id']!r} is also the id of tasks[{seen[task['id']]}]")
        seen.setdefault(task["id"], index)
        texts: dict[str, str] = {}
        try:
            texts = _texts(where, task, folder)
        except (OSError, ValueError) as error:
            yield Problem(f"{where}.script", _unreadable(task["script"], error))
        for path, text in texts.items():
            yield from (Problem(path, told) for told in _faults(text, known))


def _bad_variables(variables: Mapping[str, Any]) -> Iterator[Problem]:
    for name, given in variables.items():
        if name in _READ_ONLY:
            yield Problem(f"variables.{name}", "bash keeps this name for itself: choose another")
        pattern = given.get("pattern") if isinstance(given, Mapping) else None
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem(f"variables.{name}.pattern", f"{pattern!r} is no regular expression: {error}")


def _texts(where: str, task: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The task's shell texts by where they stand: each of its commands, or its script, and its test."""
    texts = {f"{where}.onlyIf": task["onlyIf"]} if "onlyIf" in task else {}
    if "script" not in task:
        return texts | {f"{where}.commands[{line}]": text for line, text in enumerate(task["commands"])}
    script = _script(folder, task["script"])
    if not script.strip():
        raise ValueError("has nothing to run")
    return texts | {f"{where}.script": script}


def _faults(text: str, known: list[str]) -> Iterator[str]:
    if "\0" in text:
        yield "has a NUL character, which no shell reads"
    if "\r" in text:
        yield "has carriage returns: save it with Unix line ends"
    for name in sorted(set(PLACEHOLDER.findall(text))):
        if name not in known:
            yield (
                f"{{{{{name}}}}}: {unknown_name(name, known)}" if known else f"{{{{{name}}}}}: no variables are defined"
            )


def _unreadable(script: str, error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{script!r} is not UTF-8 text"
    if isinstance(error, FileNotFoundError):
        return f"there is no file {script!r} beside the task file"
    if isinstance(error, OSError):
        return f"{script!r} cannot be read: {error.strerror}"
    return f"{script!r} {error}"
