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

from torchneuron.config import PROJECT_ROOT
from torchneuron.errors import InputError
from torchneuron.schema import Problem, find_problems, read_json, unknown_name

SCHEMA = PROJECT_ROOT / "setup_tasks" / "task-file.schema.json"
# The agent's own default for aws:runShellScript.
DEFAULT_TIMEOUT_SECONDS = 3600
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True)
class Variable:
    """A value the tasks may use. `value` is None when it has to be given from outside."""

    name: str
    value: str | None
    secret: bool = False
    pattern: str | None = None


@dataclass(frozen=True)
class Task:
    """One task as written: `text` is the shell script, its variables not yet filled in."""

    id: str
    name: str
    description: str
    text: str
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS


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
    return TaskFile(path, variables, tuple(_task(given, path.parent) for given in document["tasks"]))


def fill(task_file: TaskFile, given: Mapping[str, str]) -> dict[str, str]:
    """Every variable's value, `given` ones laid over those in the file.

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
        elif "\0" in value or "\n" in value:
            problems.append(Problem(name, "must be one line of text"))
        elif variable.pattern and not re.fullmatch(variable.pattern, value):
            shown = "its value" if variable.secret else repr(value)
            problems.append(Problem(name, f"{shown} does not match {variable.pattern}"))
        else:
            values[name] = value
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"The variables for {task_file.path.name} are refused.", why=listed)
    return values


def _variable(name: str, given: str | Mapping[str, Any]) -> Variable:
    if isinstance(given, str):
        return Variable(name, given)
    return Variable(name, given.get("value"), bool(given.get("secret", False)), given.get("pattern"))


def _task(given: Mapping[str, Any], folder: Path) -> Task:
    if "script" in given:
        text = (folder / given["script"]).read_text(encoding="utf-8").rstrip("\n")
    else:
        text = "\n".join(given["commands"])
    return Task(
        id=given["id"],
        name=given["name"],
        description=given.get("description", ""),
        text=text,
        timeout_seconds=given.get("timeoutSeconds", DEFAULT_TIMEOUT_SECONDS),
    )


def _contradictions(document: Mapping[str, Any], folder: Path, broken: set[str]) -> Iterator[Problem]:
    """What a schema cannot say, of the tasks that are not `broken` ("tasks[3]") already."""
    variables = document.get("variables", {})
    seen: dict[str, int] = {}
    for index, task in enumerate(document["tasks"]):
        where = f"tasks[{index}]"
        if where in broken:
            continue
        if task["id"] in seen:
            yield Problem(f"{where}.id", f"{task['id']!r} is also the id of tasks[{seen[task['id']]}]")
        seen.setdefault(task["id"], index)
        if "script" in task and not (folder / task["script"]).is_file():
            yield Problem(f"{where}.script", f"there is no file {task['script']!r} beside the task file")
            continue
        made = _task(task, folder)
        if not made.text.strip():
            yield Problem(where, "has nothing to run")
        for name in sorted(set(PLACEHOLDER.findall(made.text))):
            if name not in variables:
                yield Problem(where, f"{{{{{name}}}}}: {unknown_name(name, list(variables))}")
