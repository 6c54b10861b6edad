"""One task made into the script that runs on the machine.

A value reaches a script as an exported, quoted environment variable; `{{NAME}}` in its text is replaced as well,
where the value needs no quoting. A secret's value is never here: its reference is, which the machine resolves.

What is the same for all tasks (strict bash, the lock, the log, the mark of what has finished) is `run-task.sh`: the
first script of a run keeps it on the machine, all scripts source it there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torchneuron.core.errors import InputError
from torchneuron.core.schema import Problem
from torchneuron.setup import library
from torchneuron.setup.definition import PLACEHOLDER, Task, TaskFile
from torchneuron.setup.references import Reference

# Part of every digest: raise it when what surrounds a task changes what a finished one means.
_WRAPPER_VERSION = 2
_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_IDENTITY = re.compile(r"^task=(\S+) digest=([0-9a-f]{16})$", re.MULTILINE)

_SCRIPT = """\
#!/bin/bash
# {id}: {name}
set -euo pipefail
{keep_library}task={id} digest={digest}
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
    """A task ready to run. `digest` identifies its text, its test, its values and everything before it.

    `secrets` are the references of the secret variables it uses, which are no part of `values`.
    `timeout_seconds` is for all its tries together.
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
        """The script the machine runs.

        `after` is the task that has to have finished before it, if any. The first script of a run keeps what all of
        them need on the machine, and takes away the marks of the tasks to `forget`. The values given for the run `drop`
        are removed when this one fails, or `is_last`.
        """
        lines = [
            f"  secret {name} {_quote(one.text)} {_quote(one.version)} || return\n"
            for name, one in self.secrets.items()
        ]
        lines += [f"  export {name}={_quote(value)}\n" for name, value in self.values.items()]
        # SSM replaces {{ Name }} in a document's text, so text that has it travels encoded.
        encoded = "{{" in self.body
        return _SCRIPT.format(
            id=self.id,
            name=" ".join(self.name.replace("{", "(").replace("}", ")").split()),
            exports="".join(lines) or "  :\n",
            keep_library=library.KEEP if is_first else "",
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
            library=library.PLACE,
        )


def identify(script: str) -> tuple[str, str] | None:
    """The id and digest of the task whose script this is; None when it is none of ours."""
    found = _IDENTITY.search(script)
    return (found[1], found[2]) if found else None


def render(task_file: TaskFile, values: Mapping[str, str]) -> tuple[RenderedTask, ...]:
    """Every task of the file with `values` (see `definition.fill`) in place, in order.

    Raises InputError, naming every place, where a `{{NAME}}` would put a value into the text that needs quoting, or a
    secret.
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
            f"The tasks of {task_file.path.name} cannot be filled in.",
            why=listed,
            do='Write "$NAME" there instead of {{NAME}}: it arrives quoted.',
        )
    volatile = {name for name, variable in task_file.variables.items() if variable.volatile}
    rendered: list[RenderedTask] = []
    for task in task_file.tasks:
        rendered.append(_render_one(task, values, secrets, volatile, rendered[-1] if rendered else None))
    return tuple(rendered)


def _unsafe(task: Task, text: str, values: Mapping[str, str], secrets: set[str]) -> Iterator[Problem]:
    for name in PLACEHOLDER.findall(text):
        if name in secrets:
            yield Problem(task.path, f"{task.id} puts the secret {name} into its text")
        elif not _NEEDS_NO_QUOTING.fullmatch(values[name]):
            yield Problem(task.path, f"{task.id}: the value {values[name]!r} of {name} is not safe inside its text")


def _render_one(
    task: Task, values: Mapping[str, str], secrets: set[str], volatile: set[str], previous: RenderedTask | None
) -> RenderedTask:
    used = {name: value for name, value in values.items() if _mentions(f"{task.text}\n{task.only_if}", name)}
    body, only_if = _filled(task.text, values), _filled(task.only_if, values)
    counting = sorted((name, value) for name, value in used.items() if name not in volatile)
    chain = [_WRAPPER_VERSION, previous.digest if previous else "", task.id, body, counting]
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
    """`value` for the shell, with no two braces side by side: SSM would take them for its own."""
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(value))


def _folded_base64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().rstrip("\n")
