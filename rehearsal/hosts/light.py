"""A host without systemd: this machine's own files under an overlay of its own, for fleets of many.

Scripts run in it as in a booted host, by the same agent process. There are no services, packages go into the overlay,
and nothing outlives the process that started it: the host's first process ends when its input does.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from rehearsal.hosts import processes
from rehearsal.hosts.agent_process import run_script
from rehearsal.hosts.container import BARE_ENVIRONMENT
from rehearsal.hosts.forward import Forward
from rehearsal.hosts.machine import HostError, ScriptResult
from rehearsal.hosts.netns import NetworkNamespace
from rehearsal.hosts.volumes import Volume

_SCRIPT = Path(__file__).parent / "image" / "light.sh"
_FORWARD_ADDRESS = "127.0.0.1"
_FOLDER = re.compile(r"torchneuron-light-(?P<pid>\d+)-(?P<started>\d+)-.*")


class LightHost:
    """A `Machine` (see there) of this machine's own files."""

    def __init__(self, name: str, *, region: str) -> None:
        self.name = name
        # What the agent's child writes its pid to is an ordinary file here.
        self.agent_cgroup = "/run/agent"
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []
        self._process: subprocess.Popen[str] | None = None
        self._network: NetworkNamespace | None = None

    def boot(self) -> None:
        if os.geteuid() != 0:
            raise HostError(f"Host {self.name} can't be made", why="namespaces need root", remedy="Run this as root.")
        with self._lock:
            if self._process is not None:
                return
            try:
                self._start()
            except BaseException:
                self._clean_up()
                raise

    def _start(self) -> None:
        pid = os.getpid()
        space = tempfile.mkdtemp(prefix=f"torchneuron-light-{pid}-{processes.start_time(pid)}-")
        self._undo.append(lambda: shutil.rmtree(space))
        network = self._network = NetworkNamespace()
        self._undo.append(network.close)
        process = self._process = subprocess.Popen(
            [
                *("nsenter", f"--net=/proc/self/fd/{network.descriptor}"),
                *("unshare", "--mount", "--propagation", "private", "--uts", "--ipc"),
                *("--pid", "--fork", "--kill-child", "sh", str(_SCRIPT), space),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=BARE_ENVIRONMENT,
            pass_fds=(network.descriptor,),
            start_new_session=True,
        )
        self._undo.append(lambda: _end(process))
        assert process.stdout is not None
        told = process.stdout.readline()
        if told.strip() != "ready":
            why = told + process.stdout.read()
            raise HostError(f"Host {self.name} can't be made", why=why.strip(), remedy="See docs/rehearsal.md, Hosts.")

    def run(
        self,
        script: str,
        *,
        environment: Mapping[str, str],
        working_directory: str | None,
        timeout: float,
        cancelled: threading.Event,
        script_path: str,
    ) -> ScriptResult:
        return run_script(
            self,
            script,
            environment=environment,
            working_directory=working_directory,
            timeout=timeout,
            cancelled=cancelled,
            script_path=script_path,
        )

    def ready_leader(self, timeout: float) -> int:
        """The pid, on this machine, of the host's first process. Raises HostError when it has none."""
        process = self._process
        if process is None or process.poll() is not None:
            raise HostError(f"Host {self.name} can't be used", why="it is not running", remedy="Boot it first.")
        (first,) = processes.children(process.pid)
        return first

    def enter(self, leader: int, script: str, *arguments: str) -> list[str]:
        """The command line of a shell script, with arguments, in the host, in its root folder."""
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        return ["nsenter", f"--target={leader}", *spaces, "--no-fork", "--", "sh", "-c", script, "sh", *arguments]

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        script = 'mkdir -p "${1%/*}" && cat >"$1.new" && chmod "$2" "$1.new" && mv -T "$1.new" "$1"'
        self._execute(script, path, f"{mode:o}", text=text)

    def read_file(self, path: str) -> str:
        return self._execute('cat -- "$1"', path)

    def _execute(self, script: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            self.enter(self.ready_leader(0), f"({script})", *arguments),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            env=BARE_ENVIRONMENT,
            check=False,
        )
        if done.returncode != 0:
            raise HostError(f"Host {self.name}: {script}", why=done.stderr.strip(), remedy="Look at the path there.")
        return done.stdout

    def forward(self, port: int) -> int:
        with self._lock:
            network = self._network
            if network is None:
                raise HostError(f"Host {self.name} can't be used", why="it is not running", remedy="Boot it first.")
            forward = Forward(lambda: network.connect(_FORWARD_ADDRESS, port))
            self._undo.append(forward.close)
            return forward.port

    def attach_volume(self, volume: Volume) -> None:
        """Not done: a light host has no disks of its own, and no service that would mount one at boot."""

    def detach_volume(self, volume: Volume) -> bool:
        return True

    def destroy(self) -> None:
        with self._lock:
            self._clean_up()

    def _clean_up(self) -> None:
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self._process = self._network = None


def factory(instance_id: str, *, region: str) -> LightHost:
    """A `MachineFactory`."""
    return LightHost(instance_id, region=region)


def _end(process: "subprocess.Popen[str]") -> None:
    """Close its input, which ends the host's first process, and the kernel everything that runs in the host."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def sweep() -> list[str]:
    """Remove the empty folders of light hosts whose owner was killed: all else of them went with it."""
    found = {path: _FOLDER.fullmatch(path.name) for path in Path(tempfile.gettempdir()).iterdir()}
    left = [path for path, match in found.items() if match and not _owner_lives(match)]
    for path in left:
        path.rmdir()
    return [path.name for path in left]


def _owner_lives(match: re.Match[str]) -> bool:
    return processes.start_time(int(match["pid"])) == int(match["started"])
