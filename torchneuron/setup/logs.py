"""What tasks wrote on the machine, whole: SSM itself keeps the first 24,000 characters of a step only.

The log is fetched in pieces over Run Command, each packed so that it fits into what a command may answer.
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
"""The log that has all tasks' output, in the order it came."""

_FOLLOW_SECONDS = 2.0
_ANSWER_SECONDS = 60
# 24,000 characters are kept of what a command writes; halves are tried until a piece fits.
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
    """Part of a log. `size` is that of the whole log now, in bytes."""

    data: bytes
    size: int


def read(ssm: SSMClient, instance_id: str, task: str) -> Iterator[bytes]:
    """The log of a task, by its id or the only one that starts so, from its beginning to its end, in pieces.

    Raises NotFoundError when nothing ran there, InputError for a task that did not.
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
    """The same, and what is added to it for as long as `goes_on` says that there may be more."""
    at = 0
    while True:
        # Asked first: what was written until the end of a run is then read after it.
        last = not goes_on()
        for end, data in _pieces(ssm, instance_id, task, at=at):
            at = end
            yield data
        if last:
            return
        sleep(_FOLLOW_SECONDS)


def _pieces(ssm: SSMClient, instance_id: str, task: str, *, at: int) -> Iterator[tuple[int, bytes]]:
    """What the log has from `at` on, with where each piece ends. A log that was rotated is read from its beginning."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", task):
        raise InputError(f"{task!r} is not the id of a task.")
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
    with calling(f"ask {instance_id} for its log"):
        sent = ssm.send_command(
            InstanceIds=[instance_id],
            DocumentName=RUN_SHELL_SCRIPT,
            Parameters={"commands": script.splitlines()},
            Comment="torchneuron logs",
            TimeoutSeconds=_ANSWER_SECONDS,
        )
        which = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance_id}
        try:
            ssm.get_waiter("command_executed").wait(**which, WaiterConfig={"Delay": 1, "MaxAttempts": _ANSWER_SECONDS})
        except WaiterError as error:
            # Also when it failed, which its exit status explains.
            if "Max attempts" in str(error):
                raise SetupError(f"{instance_id} did not answer.", do="See invoke info, then try again.") from error
        got = ssm.get_command_invocation(**which)
    if got["ResponseCode"] == 3:
        raise NotFoundError(f"No task has run on {instance_id} yet.")
    if got["ResponseCode"] == 4:
        names = [name.removesuffix(".log") for name in got["StandardOutputContent"].split()]
        listed = "\n".join(f"  {name}" for name in names if name != EVERYTHING)
        raise InputError(f"No one task {task!r} has run on {instance_id}.", why=listed, do="Name one of these.")
    size, _, packed = got["StandardOutputContent"].partition("\n")
    return Piece(gzip.decompress(base64.b64decode(packed)), int(size))
