"""Runs a script in a host the way the SSM agent runs a step.

The model is the agent's own (aws/amazon-ssm-agent, agent/task and the runscript plugin): the text goes to a
file that `sh -c` runs, so a shebang counts; the process leads a group of its own, which gets SIGKILL at the
timeout or on a cancel; the step ends when the process has ended and its pipes are closed.

`sh` is dash in Debian and Ubuntu, which forks for the script even so: what a signal ends, be it `kill -9 $$` or the OOM
killer, is the script's process, and `sh` exits with 128 and the signal's number, on a machine in AWS as here.
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

# $1 script path, $2 working folder. Standard input is a socket: the script comes in, and out go the process's pid as
# this machine sees it (see `container`), and word that the agent was there to take it.
_LAUNCH = """
set -e
echo taken-up >&0
mkdir -p "${1%/*}"
rm -f "$1"
(umask 077 && cat >"$1" && chmod 700 "$1")
cd "$2"
unset OLDPWD
exec setsid sh -c "$1" </dev/null
"""
_TAKEN_UP = "taken-up"
_CHECK_EVERY = 0.1
_LAST_OUTPUT = 2.0


def run_script(container: Container, script: Script) -> ScriptResult:
    """As `Host.run`. A host that is rebooting takes the script up when its agent is back."""
    deadline = time.monotonic() + _AGENT_TIMEOUT
    folder = script.working_directory or DEFAULT_FOLDER
    while True:
        host = container.ready_leader(_AGENT_TIMEOUT)
        run = _Run(
            container.enter(host, _LAUNCH, script.path, folder, cgroup=container.agent_cgroup),
            {**BARE_ENVIRONMENT, **script.environment},
            host,
        )
        with run:
            run.send(script.text)
            result = run.follow(script.timeout, script.cancelled)
            if run.taken_up or result.exit_reason != "exited":
                return result
        if time.monotonic() > deadline:
            raise HostError(
                f"Host {container.name} does not run commands",
                why=f"its agent is not running: {result.stderr.strip()}",
                remedy="Something in the host stopped it; start it there: systemctl start amazon-ssm-agent",
            )
        time.sleep(_CHECK_EVERY)


class _Run:
    """One script's process, its pipes and the socket that it reports on."""

    def __init__(self, command: list[str], environment: Mapping[str, str], host: int) -> None:
        self._host = host
        self._said = b""
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
        """Where no agent takes it up, the other end is closed unread."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(script.encode())
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def taken_up(self) -> bool:
        return _TAKEN_UP in self._reports()

    def follow(self, timeout: float, cancelled: threading.Event) -> ScriptResult:
        deadline = time.monotonic() + timeout
        while True:
            # communicate() keeps what it has read when it times out, and may be called again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                wait = min(_CHECK_EVERY, max(deadline - time.monotonic(), 0))
                return _result(self._process, *self._process.communicate(timeout=wait))
            if cancelled.is_set():
                return self._kill("cancelled")
            if time.monotonic() >= deadline:
                return self._kill("timed-out")

    def _kill(self, reason: ExitReason) -> ScriptResult:
        """Kill the script's process group, whose leader may be gone already, and the shell on this side."""
        for group in (int(word) for word in self._reports() if word.isdigit()):
            if processes.group_in_namespace_of(group, self._host):
                _kill_group(group)
        _kill_group(self._process.pid)
        try:
            out, err = self._process.communicate(timeout=_LAST_OUTPUT)
        except subprocess.TimeoutExpired as left:
            # A job in a session of its own still holds the pipes. The agent would wait for it for ever.
            out, err = left.stdout or b"", left.stderr or b""
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe:
                    pipe.close()
        return ScriptResult(KILLED, _text(out), _text(err), reason)

    def _reports(self) -> list[str]:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while said := self._socket.recv(1024, socket.MSG_DONTWAIT):
                self._said += said
        return self._said.decode().split()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _result(process: "subprocess.Popen[bytes]", out: bytes, err: bytes) -> ScriptResult:
    """The exit code is as a shell reports it: 128 and the signal's number for a process that a signal
    ended.
    """
    code = process.returncode
    return ScriptResult(128 - code if code < 0 else code, _text(out), _text(err), "exited")


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
