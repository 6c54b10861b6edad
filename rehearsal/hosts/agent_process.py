"""Runs a script in a host the way the SSM agent runs a step.

Modelled on the agent (aws/amazon-ssm-agent, agent/task and the runscript plugin): the text goes to a file that `sh -c`
runs, so a shebang counts; the process leads its own group, which gets SIGKILL at the timeout or on a cancel; the step
ends when the process has ended and its pipes are closed.

`sh` is dash in Debian and Ubuntu, which forks for the script: `kill -9 $$` or the OOM killer ends the script's process,
and `sh` exits with 128 plus the signal's number, here as on EC2.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping

from rehearsal.hosts import processes
from rehearsal.hosts.container import Container
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.host import KILLED, ExitReason, Script, ScriptResult
from rehearsal.hosts.tools import BARE_ENVIRONMENT

DEFAULT_FOLDER = "/usr/bin"
_AGENT_TIMEOUT = 90.0

# $1 script path, $2 working folder. Standard input is a socket: the script comes in; the process's pid on this machine
# (see `container`) and a note that the agent accepted the script go out.
_LAUNCH = """
set -e
echo accepted >&0
mkdir -p "${1%/*}"
rm -f "$1"
(umask 077 && cat >"$1" && chmod 700 "$1")
cd "$2"
unset OLDPWD
exec setsid sh -c "$1" </dev/null
"""
_ACCEPTED = "accepted"
_POLL = 0.1
_LAST_OUTPUT = 2.0


def run_script(container: Container, script: Script) -> ScriptResult:
    """As `Host.run`. A host that reboots runs the script when its agent is back."""
    deadline = time.monotonic() + _AGENT_TIMEOUT
    folder = script.working_directory or DEFAULT_FOLDER
    while True:
        leader = container.ready_leader(_AGENT_TIMEOUT)
        run = _Run(
            container.enter(leader, _LAUNCH, script.path, folder, cgroup=container.agent_cgroup),
            {**BARE_ENVIRONMENT, **script.environment},
            leader,
        )
        with run:
            run.send(script.text)
            result = run.wait(script.timeout, script.cancelled)
            if run.accepted or result.exit_reason != "exited":
                return result
        if time.monotonic() > deadline:
            raise HostError(
                f"Host {container.name} does not run commands",
                why=f"its agent is not running: {result.stderr.strip()}",
                remedy="Start it in the host: systemctl start amazon-ssm-agent",
            )
        time.sleep(_POLL)


class _Run:
    """One script's process, its pipes and the socket that it reports on."""

    def __init__(self, command: list[str], environment: Mapping[str, str], leader: int) -> None:
        self._leader = leader
        self._received = b""
        self._socket, inside = socket.socketpair()
        with inside:
            self._process = subprocess.Popen(
                command,
                stdin=inside.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def send(self, script: str) -> None:
        """Send the script. Without an agent the other end closes without reading."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(script.encode())
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def accepted(self) -> bool:
        return _ACCEPTED in self._reports()

    def wait(self, timeout: float, cancelled: threading.Event) -> ScriptResult:
        deadline = time.monotonic() + timeout
        while True:
            # communicate() keeps what it has read when it times out, and may be called again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                wait = min(_POLL, max(deadline - time.monotonic(), 0))
                return _result(self._process, *self._process.communicate(timeout=wait))
            if cancelled.is_set():
                return self._kill("cancelled")
            if time.monotonic() >= deadline:
                return self._kill("timed-out")

    def _kill(self, reason: ExitReason) -> ScriptResult:
        """Kill the script's process group, whose leader may have ended, and the shell outside the host."""
        for group in (int(word) for word in self._reports() if word.isdigit()):
            if processes.group_in_namespace_of(group, self._leader):
                _kill_group(group)
        _kill_group(self._process.pid)
        try:
            out, err = self._process.communicate(timeout=_LAST_OUTPUT)
        except subprocess.TimeoutExpired as timeout:
            # A job in another session still holds the pipes. The agent would wait for it forever.
            out, err = timeout.stdout or b"", timeout.stderr or b""
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe:
                    pipe.close()
        return ScriptResult(KILLED, _text(out), _text(err), reason)

    def _reports(self) -> list[str]:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while received := self._socket.recv(1024, socket.MSG_DONTWAIT):
                self._received += received
        return self._received.decode().split()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _result(process: "subprocess.Popen[bytes]", out: bytes, err: bytes) -> ScriptResult:
    """With the exit code as a shell reports it: 128 plus the number of the signal that ended the process."""
    code = process.returncode
    return ScriptResult(128 - code if code < 0 else code, _text(out), _text(err), "exited")


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
