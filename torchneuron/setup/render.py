"""Render a task as the script that runs on the machine, and check its syntax.

A value reaches the task as an exported environment variable; `{{NAME}}` in the text is replaced as well, if the value
needs no quoting. Of a secret the script has only the reference, which the machine resolves.

What all tasks share (strict bash, lock, log, mark of completion) is in `run-task.sh`: the first script of a run
installs it, all scripts source it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torchneuron.core.errors import InputError
from torchneuron.core.schema import Problem
from torchneuron.setup import library
from torchneuron.setup.definition import PLACEHOLDER, Task, TaskFile
from torchneuron.setup.references import Reference

# Part of every digest. Raise it if a change of the library means that finished tasks must run again.
_WRAPPER_VERSION = 2
_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_IDENTITY = re.compile(r"^task=(\S+) digest=([0-9a-f]{16})$", re.MULTILINE)

_SCRIPT = """\
#!/bin/bash
# {id}: {name}
set -euo pipefail
{install_library}task={id} digest={digest}
after={after} after_digest={after_digest} forget={forget} retries={retries} drop={drop} last={last}
only_if={only_if}
values() {{
{exports}}}
text() {{
  {decode} <<'{heredoc}'
{body}
{heredoc}
}}
. {library}
"""


@dataclass(frozen=True)
class RenderedTask:
    """A task ready to run. `digest` covers its text, test, values and everything before it.

    `values` and `secrets` (references) are those of the variables it uses. `timeout_seconds` covers all tries together.
    """

    id: str
    name: str
    body: str
    values: Mapping[str, str]
    secrets: Mapping[str, Reference]
    digest: str
    timeout_seconds: int
    retries: int = 0
    only_if: str = ""
    optional: bool = False

    def script(
        self,
        *,
        after: RenderedTask | None,
        is_first: bool = False,
        forget: Collection[str] = (),
        drop: str = "",
        is_last: bool = False,
    ) -> str:
        """The script that the machine runs.

        `after` is the task that must have finished before it, if any. The first script of a run installs the library
        and removes the marks of the tasks in `forget`. The secret values delivered for the run `drop` are removed if
        this task fails or `is_last`.
        """
        lines = [
            f"  secret {name} {_quote(reference.text)} {_quote(reference.version)} || return\n"
            for name, reference in self.secrets.items()
        ]
        lines += [f"  export {name}={_quote(value)}\n" for name, value in self.values.items()]
        # SSM replaces {{ Name }} in a document's text, so a body that has it is encoded.
        encoded = "{{" in self.body
        return _SCRIPT.format(
            id=self.id,
            name=" ".join(self.name.replace("{", "(").replace("}", ")").split()),
            exports="".join(lines) or "  :\n",
            install_library=library.INSTALL if is_first else "",
            digest=self.digest,
            after=after.id if after else "",
            after_digest=after.digest if after else "",
            forget=shlex.quote(" ".join(forget)),
            retries=self.retries,
            drop=drop,
            last="1" if is_last else "",
            only_if=_quote(self.only_if),
            decode="base64 -d" if encoded else "cat",
            heredoc=f"END-{self.digest}",
            body=_folded_base64(f"{self.body}\n") if encoded else self.body,
            library=library.PATH,
        )


def identify(script: str) -> tuple[str, str] | None:
    """The id and digest of the task whose script this is; None if it is not such a script."""
    found = _IDENTITY.search(script)
    return (found[1], found[2]) if found else None


def render(task_file: TaskFile, values: Mapping[str, str]) -> tuple[RenderedTask, ...]:
    """Every task of the file, in order, with `values` (see `definition.fill`).

    Raises InputError, naming every place, if a `{{NAME}}` stands for a secret or for a value that needs quoting.
    """
    secrets = {name for name, variable in task_file.variables.items() if variable.secret}
    problems = [
        problem
        for task in task_file.tasks
        for text in (task.text, task.only_if)
        for problem in _unsafe(task, text, values, secrets)
    ]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise InputError(
            f"The tasks of {task_file.path.name} cannot be rendered.",
            why=listed,
            do='Write "$NAME" instead of {{NAME}} there.',
        )
    volatile = {name for name, variable in task_file.variables.items() if variable.volatile}
    rendered: list[RenderedTask] = []
    for task in task_file.tasks:
        rendered.append(_render_task(task, values, secrets, volatile, rendered[-1] if rendered else None))
    return tuple(rendered)


def _unsafe(task: Task, text: str, values: Mapping[str, str], secrets: set[str]) -> Iterator[Problem]:
    for name in PLACEHOLDER.findall(text):
        if name in secrets:
            yield Problem(task.path, f"{task.id} puts the secret {name} into its text")
        elif not _NEEDS_NO_QUOTING.fullmatch(values[name]):
            yield Problem(task.path, f"{task.id}: the value {values[name]!r} of {name} is not safe inside its text")


def _render_task(
    task: Task, values: Mapping[str, str], secrets: set[str], volatile: set[str], previous: RenderedTask | None
) -> RenderedTask:
    used = {name: value for name, value in values.items() if _mentions(f"{task.text}\n{task.only_if}", name)}
    body, only_if = _filled(task.text, values), _filled(task.only_if, values)
    digested = sorted((name, value) for name, value in used.items() if name not in volatile)
    chain = [_WRAPPER_VERSION, previous.digest if previous else "", task.id, body, digested]
    if only_if:
        chain.append(only_if)
    return RenderedTask(
        id=task.id,
        name=task.name,
        body=body,
        values={name: value for name, value in used.items() if name not in secrets},
        secrets={name: Reference.parse(value) for name, value in used.items() if name in secrets},
        digest=_short_hash(json.dumps(chain)),
        timeout_seconds=task.timeout_seconds,
        retries=task.retries,
        only_if=only_if,
        optional=task.optional,
    )


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _filled(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _quote(value: str) -> str:
    """`value` quoted for the shell, with no `{{` in it: SSM would read that as a parameter."""
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(value))


def _folded_base64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().rstrip("\n")


def check_syntax(tasks: Sequence[RenderedTask]) -> str:
    """Check the tasks with `bash -n` and return a line on the result. Raises InputError for syntax errors."""
    bash = shutil.which("bash")
    if bash is None:
        return "Syntax not checked: bash is not installed here."
    problems = [problem for task in tasks if (problem := _syntax_error(bash, task))]
    if problems:
        raise InputError("Some of the scripts are not valid bash.", why="\n".join(problems))
    return f"{len(tasks)} scripts checked with bash -n: no syntax errors."


def _syntax_error(bash: str, task: RenderedTask) -> str:
    # Separately, because the script contains the task's text as data.
    for text in (task.body, task.script(after=None)):
        done = subprocess.run([bash, "-n"], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"  {task.id}: {done.stderr.strip()}"
    return ""
