"""Read whole logs of tasks from a machine: SSM keeps only the first 24,000 characters of a step's output.

A log is fetched by commands that each return a piece, compressed to fit into a command's output.
"""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import WaiterError

from torchneuron.aws.errors import calling
from torchneuron.core.errors import InputError, NotFoundError, SetupError
from torchneuron.setup import library
from torchneuron.setup.document import RUN_SHELL_SCRIPT

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

EVERYTHING = "all"
"""The log with the output of all tasks, in the order in which it was written."""

_FOLLOW_SECONDS = 2.0
_ANSWER_SECONDS = 60
# The size of a piece is halved until its compressed form fits into 24,000 characters.
_SCRIPT = """\
#!/bin/bash
cd {logs} 2>/dev/null || exit 3
log={task}.log
if [ ! -f "$log" ]; then
  found=({task}*.log)
  if [ ${{#found[@]}} -ne 1 ] || [ ! -f "${{found[0]}}" ]; then ls *.log; exit 4; fi
  log=${{found[0]}}
fi
most=2000000
while :; do
  piece=$(tail -c +{first} "$log" | head -c "$most" | gzip -9n | base64 -w0)
  [ ${{#piece}} -gt 23000 ] || break
  most=$((most / 2))
done
stat -c %s "$log"
echo "$piece"
"""


@dataclass(frozen=True)
class Piece:
    """Part of a log. `size` is the current size of the whole log in bytes."""

    data: bytes
    size: int


def read(ssm: SSMClient, instance_id: str, task: str) -> Iterator[bytes]:
    """The whole log of a task, in pieces. `task` is its id, or a prefix that no other task has.

    Raises NotFoundError if no task has run there, InputError if this one has not.
    """
    yield from (data for _, data in _pieces(ssm, instance_id, task, at=0))


def follow(
    ssm: SSMClient,
    instance_id: str,
    task: str,
    *,
    goes_on: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """As `read`, and then what is added to the log while `goes_on` returns True."""
    at = 0
    while True:
        # Before the log is read, so that what a run writes until its end is not missed.
        is_last = not goes_on()
        for end, data in _pieces(ssm, instance_id, task, at=at):
            at = end
            yield data
        if is_last:
            return
        sleep(_FOLLOW_SECONDS)


def _pieces(ssm: SSMClient, instance_id: str, task: str, *, at: int) -> Iterator[tuple[int, bytes]]:
    """The log from byte `at` on: the end of each piece and its data. A log that was rotated is read from its start."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", task):
        raise InputError(f"{task!r} is not a task id.")
    while True:
        piece = _fetch(ssm, instance_id, task, at)
        if piece.size < at:
            at = 0
            continue
        at += len(piece.data)
        if piece.data:
            yield at, piece.data
        if at >= piece.size or not piece.data:
            return


def _fetch(ssm: SSMClient, instance_id: str, task: str, at: int) -> Piece:
    script = _SCRIPT.format(logs=library.LOGS, task=shlex.quote(task), first=at + 1)
    with calling(f"read a log on {instance_id}"):
        sent = ssm.send_command(
            InstanceIds=[instance_id],
            DocumentName=RUN_SHELL_SCRIPT,
            Parameters={"commands": script.splitlines()},
            Comment="torchneuron logs",
            TimeoutSeconds=_ANSWER_SECONDS,
        )
        invocation = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
        waiter = ssm.get_waiter("command_executed")
        try:
            waiter.wait(**invocation, WaiterConfig={"Delay": 1, "MaxAttempts": _ANSWER_SECONDS})
        except WaiterError as error:
            # Also raised if the script failed: its exit status says why.
            if "Max attempts" in str(error):
                raise SetupError(f"{instance_id} did not answer.", do="See invoke info, then try again.") from error
        got = ssm.get_command_invocation(**invocation)
    if got["ResponseCode"] == 3:
        raise NotFoundError(f"No task has run on {instance_id} yet.")
    if got["ResponseCode"] == 4:
        names = [name.removesuffix(".log") for name in got["StandardOutputContent"].split()]
        listed = "\n".join(f"  {name}" for name in names if name != EVERYTHING)
        raise InputError(f"No unique task on {instance_id} matches {task!r}.", why=listed, do="Name one of these.")
    size, _, packed = got["StandardOutputContent"].partition("\n")
    return Piece(gzip.decompress(base64.b64decode(packed)), int(size))
