"""Fixtures of the functional tests: a rehearsal in this process, with fake machines as hosts."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.config import Config as ClientConfig

from rehearsal.faults.latency import Delays
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.host import KILLED, Script, ScriptResult
from rehearsal.hosts.volumes import Volume
from rehearsal.server import Settings, serving
from tests.functional.command_fixtures import document, instance, launch, profile  # noqa: F401
from tests.functional.staying import serve  # noqa: F401
from tests.functional.support import DatetimeReplacement

PROJECT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
HERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
DAYS = sorted(
    datetime.fromisoformat(day)
    for day in os.environ.get(
        "TORCHNEURON_TEST_DAYS", "2026-03-02T09:00+00:00 2026-11-30T17:00+00:00 2028-02-29T10:45+00:00"
    ).split()
)
"""Start times of the rehearsal's clock: tests marked `every_day` run on each, the others on the first."""
UNSET = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


def pytest_generate_tests(metafunc):
    """Run tests marked `every_day`, directly or by their module, on each of `DAYS`."""
    if metafunc.definition.get_closest_marker("every_day") and "day" in metafunc.fixturenames:
        metafunc.parametrize("day", DAYS, ids=[f"{day:%F}" for day in DAYS])


class FakeMachine:
    """A `Host` in memory that interprets scripts of these lines:

    `out TEXT` and `err TEXT` write a line, `repeat N TEXT` writes TEXT N times, `exit N` exits, `wait` waits until the
    test sets `proceed` (or a timeout, cancellation or reboot), `next` exits with the next of `exit_codes`. Other lines
    raise AssertionError.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Script] = []
        self.files = {"/etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="13"\n'}
        self.may_boot = threading.Event()
        self.may_boot.set()
        self.proceed = threading.Event()
        self.broken = ""
        self.volumes: list[str] = []
        self.mounted: set[str] = set()
        self.no_devices = ""
        self.booted = self.destroyed = False
        self.reboots = 0
        self.exit_codes: list[int] = []

    def boot(self) -> None:
        self.may_boot.wait()
        if self.broken:
            raise HostError("the host did not boot", why=self.broken, remedy="fix it")
        self.booted = True

    def run(self, script: Script) -> ScriptResult:
        self.calls.append(script)
        stdout, stderr = "", ""
        for line in script.text.splitlines():
            verb, _, rest = line.partition(" ")
            if verb == "out":
                stdout += f"{rest}\n"
            elif verb == "err":
                stderr += f"{rest}\n"
            elif verb == "repeat":
                count, _, text = rest.partition(" ")
                stdout += text * int(count)
            elif verb == "exit":
                return ScriptResult(int(rest), stdout, stderr, "exited")
            elif verb == "next":
                return ScriptResult(self.exit_codes.pop(0), stdout, stderr, "exited")
            elif verb == "wait":
                ended = self._wait(script.timeout, script.cancelled)
                if ended != "exited":
                    return ScriptResult(KILLED, stdout, stderr, ended)
            elif line:
                raise AssertionError(f"a fake machine can't run {line!r}")
        return ScriptResult(0, stdout, stderr, "exited")

    def _wait(self, timeout: float, cancelled: threading.Event):
        waited, reboots = 0.0, self.reboots
        while not self.proceed.wait(0.01):
            waited += 0.01
            if self.reboots != reboots:
                return "cancelled"
            if self.destroyed:
                raise HostError("the host is gone", why="it was destroyed", remedy="launch another")
            if cancelled.is_set():
                return "cancelled"
            if waited >= timeout:
                return "timed-out"
        return "exited"

    def reboot(self) -> None:
        self.reboots += 1
        self.may_boot.wait()

    def write_file(self, path: str, text: str, mode: int = 0o600) -> None:
        self.files[path] = text

    def read_file(self, path: str) -> str:
        return self.files[path]

    def forward(self, port: int) -> int:
        return 40_000 + port

    def attach_volume(self, volume: Volume) -> None:
        if self.no_devices:
            raise HostError("the volume can't be attached", why=self.no_devices, remedy="fix it")
        self.volumes.append(volume.volume_id)

    def detach_volume(self, volume: Volume) -> bool:
        if volume.volume_id in self.mounted:
            return False
        self.volumes.remove(volume.volume_id)
        return True

    def destroy(self) -> None:
        self.destroyed = True


@dataclass
class Machines:
    """Creates fake machines; `prepare` may change each before it boots."""

    made: dict[str, FakeMachine] = field(default_factory=dict)
    prepare: Callable[[FakeMachine], None] = lambda machine: None

    def __call__(self, instance_id: str, *, region: str, folder: Path | None = None) -> FakeMachine:
        machine = FakeMachine(instance_id)
        self.prepare(machine)
        self.made[instance_id] = machine
        return machine


@pytest.fixture(scope="session")
def machines() -> Machines:
    return Machines()


@pytest.fixture(scope="session")
def server(machines):
    delays = Delays(visible=0.05, delivery=0.1, given_up=0.1)
    with serving(Settings(clock=DAYS[0], delays=delays), machines) as server:
        yield server
        violations = server.world.misfits.shown()["misfits"]
        assert not violations, f"responses that violate AWS's model: {violations}"


@pytest.fixture
def control(server):
    """The control API: `control("status")`, `control("clock", {"to": ...})`."""
    return server.access.control


@pytest.fixture
def faults(control):
    """Replaces the injected faults: `faults({"operation": …, "kind": …})`."""
    return lambda *rules: control("faults", {"faults": list(rules)})


@pytest.fixture
def fail(faults):
    """Replaces the injected faults with one: `fail("PutParameter", "error", code="AccessDeniedException")`."""
    return lambda operation, kind, **more: faults({"operation": operation, "kind": kind, **more})


@pytest.fixture
def day():
    """The time on the rehearsal's clock when the test begins."""
    return DAYS[0]


@pytest.fixture
def rehearsal_endpoint(server, control, machines, monkeypatch, day) -> Iterator[str]:
    """The URL of an empty AWS. The environment of this process and its children only points to it.

    In this process the product reads the time from the rehearsal's clock.
    """
    control("reset", {})
    if day != DAYS[0]:
        control("clock", {"to": day.isoformat()})
    machines.made.clear()
    machines.prepare = lambda machine: None
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**HERE, **server.access.environment}.items():
        monkeypatch.setenv(name, value)

    class LocalTime(datetime, metaclass=DatetimeReplacement):
        @classmethod
        def now(cls, tz=None):
            return server.world.clock.now()

    for module in ("capacity_blocks.once", "aws.errors"):
        monkeypatch.setattr(f"torchneuron.{module}.datetime", LocalTime)
    yield server.endpoint
    for machine in machines.made.values():
        machine.may_boot.set()


@pytest.fixture(scope="session")
def clients(server):
    """Cached boto3 clients by service and region: loading EC2's service model takes a third of a second."""
    session = boto3.session.Session(server.access.access_key_id, server.access.secret_access_key)

    def make(service, region):
        config = ClientConfig(retries={"total_max_attempts": 1})
        return session.client(service, region_name=region, endpoint_url=server.endpoint, config=config)

    return functools.cache(make)


@pytest.fixture
def client(clients, rehearsal_endpoint):
    """boto3 clients for an empty AWS: `client("ec2")`, `client("ssm", "us-east-2")`. They never retry."""
    return lambda service, region=REGION: clients(service, region)


@pytest.fixture
def ec2(client):
    return client("ec2")


@pytest.fixture
def ssm(client):
    return client("ssm")


@pytest.fixture
def aws(rehearsal_endpoint):
    """The product's own clients for an empty AWS."""
    from torchneuron.aws.session import Aws

    return Aws(REGION)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A copy of the project's settings, with the state folder beside it."""
    from torchneuron.core import config as settings

    path = tmp_path / "config.json"
    original = json.loads((PROJECT / "config.json").read_text())
    path.write_text(json.dumps({**original, "stateDir": str(tmp_path / "state")}))
    monkeypatch.setenv("TORCHNEURON_CONFIG", str(path))
    return settings.load()


@pytest.fixture
def move_clock(control):
    """Moves the rehearsal's clock to a date."""
    return lambda to: control("clock", {"to": to.isoformat()})


@pytest.fixture
def pass_time(control):
    """A `sleep` that only advances the rehearsal's clock."""
    return lambda seconds: control("clock", {"advance_seconds": seconds})


@pytest.fixture
def pay(control):
    """Sets the payment time to five minutes; `pay()` advances the clock by it."""
    control("market", {"payment_seconds": 300})
    return lambda: control("clock", {"advance_seconds": 300})


@pytest.fixture
def offering(ec2):
    """The first block on sale: one trn2.3xlarge for a day."""
    found = ec2.describe_capacity_block_offerings(
        InstanceType="trn2.3xlarge", InstanceCount=1, CapacityDurationHours=24
    )
    return found["CapacityBlockOfferings"][0]


@pytest.fixture
def block(ec2, offering):
    """That block, bought."""
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offering["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )
    return bought["CapacityReservation"]


@pytest.fixture
def active_block(block, move_clock):
    """That block, an hour into its window."""
    move_clock(block["StartDate"] + timedelta(hours=1))
    return block


@pytest.fixture
def invoke(rehearsal_endpoint, config, capsys):
    """Runs commands against an empty AWS: `invoke("cb.list", "-r", REGION, status=0)`."""
    from tests.functional.invoking import Invoke

    return Invoke(capsys)


@pytest.fixture
def proposed(invoke):
    """The id and start time of the offering that a search proposes."""
    words = invoke("cb.search", "-r", REGION).out.split()
    return words[words.index("--offering-id") + 1], words[words.index("--start-time") + 1]


@pytest.fixture
def bought(invoke, proposed):
    """The reservation id of that offering, bought and saved."""
    done = invoke("cb.purchase", "--offering-id", proposed[0], "--start-time", proposed[1], "-r", REGION, "--yes")
    return done.err.split("Bought: ")[1].split(".")[0]
