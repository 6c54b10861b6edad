"""One task made into the script that runs on the machine.

A value reaches a script as an exported, quoted environment variable; `{{NAME}}` in its text is
replaced as well, where the value needs no quoting. Around the task's own text stands the same
wrapper for all of them: strict bash, a log on the host, and a mark of what has finished. The next
task of the run asks for that mark, because the SSM agent stops a document at a *failed* step but
not at one that timed out (amazon-ssm-agent, agent/framework/runpluginutil/runpluginutil.go). It
also takes some exit statuses for words to itself: 137 for its own time-out, 168 and 169 for "skip
the rest". A task's own are passed on as a plain failure.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from torchneuron.errors import InputError
from torchneuron.setup.definition import PLACEHOLDER, Task, TaskFile

MASK = "********"
# Part of every digest: raise it when the wrapper changes what a finished task means.
_WRAPPER_VERSION = 1
_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")

_WRAPPER = """\
#!/bin/bash
# {id}: {name}
set -euo pipefail
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{exports}marks=/var/lib/torchneuron logs=/var/log/torchneuron task={id}
install -d -m 0700 "$marks"
install -d -m 0755 "$logs"
rm -f "$marks/$task.done"
{precondition}{decode} > "$marks/$task.sh" <<'{heredoc}'
{body}
{heredoc}
keep() {{ tee -a "$logs/$task.log"; }}
status=0
bash "$marks/$task.sh" </dev/null > >(keep) 2> >(keep >&2) || status=$?
[ "$status" -ne 0 ] || echo {digest} > "$marks/$task.done"
case $status in
  137 | 168 | 169)
    echo "the task ended with status $status" >&2
    status=1
    ;;
esac
exit "$status"
"""
_PRECONDITION = """\
if [ "$(cat "$marks/{id}.done" 2>/dev/null)" != {digest} ]; then
  echo "not run: {id} before it did not finish" >&2
  exit 1
fi
"""
# Ahead of the task's own text; the failing command is named as written, so no value is shown.
_STRICT = """\
set -Eeuo pipefail
trap 'echo "failed with status $?: $BASH_COMMAND" >&2' ERR
"""


@dataclass(frozen=True)
class RenderedTask:
    """A task ready to run. `digest` identifies its text, its values and everything before it."""

    id: str
    name: str
    body: str
    values: Mapping[str, str]
    secrets: frozenset[str]
    digest: str
    timeout_seconds: int

    def script(self, *, after: RenderedTask | None, masked: bool = False) -> str:
        """The script the machine runs. `after` is the task before it in the same run, if any;
        `masked` hides the secrets' values, for showing."""
        exports = {name: MASK if masked and name in self.secrets else value for name, value in self.values.items()}
        # SSM replaces {{ Name }} in a document's text, so text that has it travels encoded.
        encoded = "{{" in self.body
        return _WRAPPER.format(
            id=self.id,
            name=" ".join(self.name.replace("{", "(").replace("}", ")").split()),
            exports="".join(f"export {name}={_quote(value)}\n" for name, value in exports.items()),
            precondition=_PRECONDITION.format(id=after.id, digest=after.digest) if after else "",
            decode="base64 -d" if encoded else "cat",
            heredoc=f"END-{self.digest}",
            body=_folded_base64(self.body) if encoded else self.body,
            digest=self.digest,
        )


def render(task_file: TaskFile, values: Mapping[str, str]) -> tuple[RenderedTask, ...]:
    """Every task of the file with `values` (see `definition.fill`) in place, in order.

    Raises InputError when a `{{NAME}}` would put a value into the text that needs quoting.
    """
    secrets = {name for name, variable in task_file.variables.items() if variable.secret}
    rendered: list[RenderedTask] = []
    for task in task_file.tasks:
        previous = rendered[-1] if rendered else None
        rendered.append(_render_one(task, values, secrets, previous))
    return tuple(rendered)


def _render_one(
    task: Task, values: Mapping[str, str], secrets: set[str], previous: RenderedTask | None
) -> RenderedTask:
    used = {name: value for name, value in values.items() if _mentions(task.text, name)}
    body = _STRICT + _substitute(task, values, secrets)
    chain = [_WRAPPER_VERSION, previous.digest if previous else "", task.id, body, sorted(used.items())]
    return RenderedTask(
        id=task.id,
        name=task.name,
        body=body,
        values=used,
        secrets=frozenset(secrets & used.keys()),
        digest=hashlib.sha256(json.dumps(chain).encode()).hexdigest()[:16],
        timeout_seconds=task.timeout_seconds,
    )


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _substitute(task: Task, values: Mapping[str, str], secrets: set[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in secrets:
            raise InputError(
                f"Task {task.id} puts the secret {name} into its text.",
                do=f'Write "${name}" there instead of {{{{{name}}}}}.',
            )
        if not _NEEDS_NO_QUOTING.fullmatch(values[name]):
            raise InputError(
                f"Task {task.id}: the value {values[name]!r} of {name} is not safe inside a script's text.",
                do=f'Write "${name}" there instead of {{{{{name}}}}}: it arrives quoted.',
            )
        return values[name]

    return PLACEHOLDER.sub(replace, task.text)


def _quote(value: str) -> str:
    """`value` for the shell, with no two braces side by side: SSM would take them for its own."""
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(value))


def _folded_base64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().rstrip("\n")
