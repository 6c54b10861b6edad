"""A sandbox to run commands in: an AWS process, a copy of the settings, and an environment that points to both.

Everything is in one temporary folder and ends with the `with` block. Commands need no switch: boto3, Terraform and
cdktf honour AWS_ENDPOINT_URL, and TORCHNEURON_CONFIG names the settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.atomic_files import make_private_folder
from rehearsal.client import Access, AccessError
from rehearsal.hosts import orphans
from rehearsal.hosts.code_server_package import VERSION
from rehearsal.scenarios.terraform_mirror import write_cli_config

PROJECT = Path(__file__).resolve().parents[2]
_SETTINGS = "config.json"
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_INTERRUPT_SECONDS = 30.0
# unix(7) gives a socket's path 107 characters; Terraform's plugins take up to 18 of them ("/plugin" and a number).
_SOCKET_FOLDER_LENGTH = 88


class SandboxError(Exception):
    """The rehearsal's AWS did not start, refused a request, or a command did not end as expected."""


@dataclass(frozen=True)
class Sandbox:
    """A running rehearsal. `environment`: of the commands that run in it. `kept`: whether its folder stays."""

    folder: Path
    access: Access
    environment: Mapping[str, str]
    kept: bool = False

    @property
    def endpoint(self) -> str:
        return self.access.endpoint

    def settings(self) -> dict[str, Any]:
        """The rehearsal's copy of the settings."""
        read: dict[str, Any] = json.loads(Path(self.environment["TORCHNEURON_CONFIG"]).read_text())
        return read

    def control(self, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the control API, such as `status` or `clock` (see docs/rehearsal.md)."""
        try:
            return self.access.control(request, body)
        except urllib.error.HTTPError as error:
            raise SandboxError(f"The rehearsal refused {request}: {error.read().decode()}") from error

    def client(self, service: str, region: str, *, retries: bool = True) -> Any:
        """A boto3 client for this AWS, which ignores this process's environment."""
        return self.access.client(service, region, retries=retries)


@contextlib.contextmanager
def open_sandbox(
    *, region: str, host_suite: str, options: Sequence[str] = (), kept_in: Path | None = None
) -> Iterator[Sandbox]:
    """Start a rehearsal, and stop and remove it when the block ends. Raises SandboxError.

    `options`: more options of `python -m rehearsal`. `kept_in`: a folder to keep it in, and to resume it from.
    """
    folder = kept_in or orphans.new_sandbox_folder()
    try:
        make_private_folder(folder)
    except OSError as error:
        raise SandboxError(f"A rehearsal can't be kept in {folder}: {error.strerror or error}.") from error
    try:
        settings = folder / _SETTINGS
        if not settings.exists():
            copy_settings(folder, region)
        keep = ["--state", str(folder / "aws")] if kept_in else []
        with _served(folder, ["--region", region, "--host-suite", host_suite, *keep, *options]) as access:
            yield Sandbox(folder, access, make_environment(folder, settings, access), kept=kept_in is not None)
    finally:
        if not kept_in:
            shutil.rmtree(folder, ignore_errors=True)


def kept_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the rehearsal that is kept in a folder, None when the folder is empty or does not exist.

    Raises SandboxError for a folder with other files.
    """
    if (folder / _SETTINGS).is_file() and (folder / "aws").is_dir():
        read: dict[str, Any] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        return read
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SandboxError(f"{folder} is not empty and holds no rehearsal. Name a new folder.")
    return None


def copy_settings(folder: Path, region: str) -> Path:
    """Copy the user's settings into the folder, adapted to the rehearsal, and return the path of the copy."""
    original = Path(os.environ.get("TORCHNEURON_CONFIG") or PROJECT / "config.json")
    settings = json.loads(original.read_text(encoding="utf-8"))
    settings.update(
        defaultRegion=region,
        nginxPort=settings.get("nginxPort", 80),
        # The only release that hosts can install.
        codeServerVersion=VERSION,
        stateDir="state",
        outputDir="cdktf.out",
        # moto serves one address, so the bucket's name has to be in the path.
        backend={"type": "s3", "bucket": None, "region": None, "usePathStyle": True},
    )
    if settings.get("tls") == "given":
        settings["tls"] = "self-signed"  # the certificate is on the user's own host only
    settings.pop("$schema", None)
    copy = folder / _SETTINGS
    copy.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return copy


def make_environment(folder: Path, settings: Path, access: Access) -> dict[str, str]:
    """This process's environment, without the user's AWS variables, pointed at the rehearsal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update(access.environment)
    environment.update(
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=str(folder / "no-aws-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "no-aws-credentials"),
        TORCHNEURON_CONFIG=str(settings),
        NO_PROXY=_with_loopback("NO_PROXY"),
        no_proxy=_with_loopback("no_proxy"),
        CHECKPOINT_DISABLE="1",
        DISABLE_VERSION_CHECK="1",
        CI="1",
    )
    environment[orphans.VARIABLE] = str(folder)
    temporary = folder / "tmp"
    # So that what a killed Terraform leaves goes with the folder. A socket's path has to fit.
    if len(str(temporary)) <= _SOCKET_FOLDER_LENGTH:
        temporary.mkdir(exist_ok=True)
        environment["TMPDIR"] = str(temporary)
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), str(PROJECT / "node_modules" / ".bin"), environment["PATH"]]
    )
    if mirror := write_cli_config(folder):
        # Otherwise cdktf still asks the provider registry, and creates a plugin cache in the user's home.
        environment.update(
            TF_CLI_CONFIG_FILE=str(mirror), CDKTF_SKIP_PROVIDER_LOCK="true", CDKTF_DISABLE_PLUGIN_CACHE_ENV="true"
        )
    return environment


def _with_loopback(variable: str) -> str:
    """The user's list of hosts that need no proxy, with loopback added."""
    return ",".join(filter(None, (os.environ.get(variable), "127.0.0.1", "localhost")))


@contextlib.contextmanager
def _served(folder: Path, options: Sequence[str]) -> Iterator[Access]:
    ready, log = folder / "ready.json", folder / "rehearsal.log"
    arguments = [*options, "--ready-file", str(ready), "--with-parent"]
    with log.open("wb") as output:
        # In its own session: it has to outlive a Ctrl-C to destroy its hosts.
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal", *arguments],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _await_ready(process, ready, log)
    finally:
        _stop(process)


def _await_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> Access:
    end = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise SandboxError(f"The rehearsal's AWS did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    try:
        return Access.from_ready_file(ready)
    except AccessError as error:
        raise SandboxError(f"The rehearsal's AWS can't be trusted: {error}.") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(
    sandbox: Sandbox,
    command: Sequence[str],
    *,
    show: bool = False,
    merge: bool = False,
    status: int = 0,
    at: tuple[str, Callable[[], object]] | None = None,
) -> str:
    """Run a user's command in the sandbox and return its standard output, with `merge` its standard error too.

    `show` also prints the output line by line; `at` is then a text in the merged output, and what to do at the first
    line that has it. An interrupt is passed on to the command, which gets time to end. Raises SandboxError for an
    exit status other than `status`.
    """
    merge = merge or at is not None
    process = _start(sandbox, command, errors=subprocess.STDOUT if merge else None if show else subprocess.PIPE)
    try:
        if show:
            output, errors = "".join(_printed(process, at)), ""
        else:
            output, errors = process.communicate()
        actual = process.wait()
    except BaseException:
        _interrupt(process)
        raise
    if actual != status:
        shown = "" if show else f"\n{output}{errors or ''}".rstrip()
        expected = f", not {status}" if status else ""
        raise SandboxError(f"{' '.join(command)} ended with status {actual}{expected}.{shown}")
    return output


def wait_until(condition: Callable[[], bool], description: str, *, seconds: float = 300) -> None:
    """Wait for a condition. Raises SandboxError when it takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SandboxError(f"Waited {seconds:.0f} s in vain: {description}.")
        time.sleep(0.1)


def run_until_killed(
    sandbox: Sandbox, command: Sequence[str], *, after: str, once: Callable[[], bool] = lambda: True
) -> str:
    """Run a user's command, and kill it and its children when it has printed `after` and `once` is true.

    Prints and returns the output so far. Raises SandboxError when the command ends before.
    """
    process = _start(sandbox, command, errors=subprocess.STDOUT)
    kept: list[str] = []
    try:
        for line in _printed(process):
            kept.append(line)
            if after in line:
                break
        else:
            raise SandboxError(f"{' '.join(command)} ended with status {process.wait()} before it printed {after!r}.")
        wait_until(once, f"{' '.join(command)} did not get that far")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return "".join(kept)


def _printed(process: subprocess.Popen[str], at: tuple[str, Callable[[], object]] | None = None) -> Iterator[str]:
    """Print a command's output line by line."""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        yield line
        if at is not None and at[0] in line:
            at[1]()
            at = None
    if at is not None:
        raise SandboxError(f"The command did not print {at[0]!r}.")


def _start(sandbox: Sandbox, command: Sequence[str], *, errors: int | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=dict(sandbox.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )


def _interrupt(process: subprocess.Popen[str]) -> None:
    """End a command and its children: by SIGINT, then by SIGKILL when that takes too long."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.communicate(timeout=_INTERRUPT_SECONDS)
            return
