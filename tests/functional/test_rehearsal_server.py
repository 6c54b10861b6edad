import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rehearsal.client import Access
from rehearsal.clock import Clock, ClockError, parse_timestamp
from rehearsal.server import ServerError, Settings, start
from tests.functional.support import eventually, refusal

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(tmp_path):
    """Starts `python -m rehearsal` and waits until it is ready; returns the process, the way in, the ready file."""
    started = []

    def go(*arguments: str):
        ready = tmp_path / "ready.json"
        options = ["--with-parent", "--host-suite", "none", "--ready-file", str(ready), *arguments]
        command = [sys.executable, "-m", "rehearsal", *options]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
        started.append(process)
        eventually(ready.exists)
        return process, Access.from_ready_file(ready), ready

    yield go
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(process, number):
    running, access, ready = process("--clock", "2026-01-05T09:00:00Z", "--with-parent")
    status = access.control("status")
    date = access.client("sts", "sa-east-1").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert status["clock"].startswith("2026-01-05T09:0")
    assert status["hosts"] == {}
    assert date.startswith("Mon, 05 Jan 2026 09:0")
    running.send_signal(number)
    assert running.wait(120) == 0
    assert not ready.exists()


def test_it_ends_with_the_process_that_started_it(tmp_path):
    ready = tmp_path / "ready.json"
    child = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--with-parent", "--ready-file", str(ready)]
    script = f"import subprocess, time\nsubprocess.Popen({child!r})\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.DEVNULL)
    eventually(ready.exists)
    pid = json.loads(ready.read_text())["pid"]
    parent.kill()
    parent.wait()
    eventually(lambda: not _alive(pid))


def test_a_port_that_another_has_is_refused(process):
    _, access, ready = process()
    port = access.endpoint.rpartition(":")[2]
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--port", port]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rehearsal: can't listen on port {port} of 127.0.0.1: Address already in use\n"
    assert Access.from_ready_file(ready) == access
    assert access.control("status")["hosts"] == {}


def test_only_loopback_is_served(server):
    with pytest.raises(ServerError, match="loopback only"):
        start(Settings(host="0.0.0.0"), None)


def test_one_aws_a_process(server):
    with pytest.raises(ServerError, match="already"):
        start(Settings(), None)


def test_the_clock_goes_ahead_only(control):
    now = datetime.fromisoformat(control("status")["clock"])
    moved = datetime.fromisoformat(control("clock", {"advance_seconds": 3600})["clock"])
    assert timedelta(hours=1) <= moved - now < timedelta(hours=1, seconds=10)
    for wrong in ({"to": now.isoformat()}, {"to": "soon"}, {"to": "2030-01-01T00:00:00"}, {}, {"advance_seconds": -1}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control("clock", wrong)
        assert refused.value.code == 400
        assert json.load(refused.value)["error"]


def test_what_the_control_api_lacks(control):
    for path, body in (("nothing", None), ("status", {}), ("clock", None)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control(path, body)
        assert refused.value.code == 404
    with pytest.raises(urllib.error.HTTPError) as refused:
        control("forward", {"instance_id": "i-0123456789abcdef0", "port": 80})
    assert "unknown" in json.load(refused.value)["error"]


def test_motos_own_control_api_is_out_of_reach(rehearsal_endpoint):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{rehearsal_endpoint}/moto-api/reset", data=b"")
    assert refused.value.code == 404


def test_what_is_not_modelled_says_so_at_once(ec2):
    move = {"SourceCapacityReservationId": "cr-1", "DestinationCapacityReservationId": "cr-2", "InstanceCount": 1}
    assert refusal(ec2.move_capacity_reservation_instances, **move) == "UnsupportedOperation"


def test_reset_empties_everything(ec2, block, client, control):
    client("s3").create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
    control("reset", {})
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []
    assert client("s3").list_buckets()["Buckets"] == []


def test_s3_locks_by_conditional_write(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
    lock = {"Bucket": "state", "Key": "x.tflock", "Body": b"mine", "IfNoneMatch": "*"}
    s3.put_object(**lock)
    assert refusal(s3.put_object, **lock) == "PreconditionFailed"


def test_children_see_this_aws_and_no_other(rehearsal_endpoint):
    script = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "123456789012"
    assert os.environ["AWS_ENDPOINT_URL"] == rehearsal_endpoint


def test_instants():
    assert parse_timestamp("2026-01-31T11:30:00Z") == datetime(2026, 1, 31, 11, 30, tzinfo=timezone.utc)
    assert parse_timestamp("2026-01-31T08:30:00-03:00") == parse_timestamp("2026-01-31T11:30:00Z")
    for wrong in ("2026-01-31T11:30:00", "soon"):
        with pytest.raises(ClockError):
            parse_timestamp(wrong)


def test_a_clock_flows_from_where_it_was_set():
    real = iter([datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, 0, 0, 7, tzinfo=timezone.utc)])
    clock = Clock(datetime(2030, 5, 5, tzinfo=timezone.utc), real=lambda: next(real))
    assert clock.now() == datetime(2030, 5, 5, 0, 0, 7, tzinfo=timezone.utc)


def test_a_clock_runs_as_fast_as_it_is_told_to():
    start = datetime(2030, 5, 5, tzinfo=timezone.utc)
    seconds = [0.0]
    clock = Clock(start, real=lambda: start + timedelta(seconds=seconds[0]), speed=60)
    seconds[0] = 1
    assert clock.now() == start + timedelta(minutes=1)
    clock.advance(timedelta(hours=1))
    seconds[0] = 2
    assert clock.now() == start + timedelta(minutes=62)
    clock.run_at(1)
    seconds[0] = 3
    assert clock.now() == start + timedelta(minutes=62, seconds=1)
    for wrong in (0, -1, 0.5, float("nan"), 1e7):
        with pytest.raises(ClockError):
            clock.run_at(wrong)


def test_speed_from_the_command_line_and_on_the_way(process):
    _, access, _ = process("--clock", "2026-01-05T09:00:00Z", "--speed", "3600")

    def clock(body=None):
        return datetime.fromisoformat(access.control("status" if body is None else "clock", body)["clock"])

    first = clock()
    time.sleep(0.5)
    assert timedelta(minutes=20) < clock() - first < timedelta(hours=10)
    slow = clock({"speed": 1})
    assert clock() - slow < timedelta(minutes=1)


@pytest.mark.parametrize("wrong", ["0", "fast", "1e9", "nan"])
def test_a_speed_that_is_none_is_refused(wrong):
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--speed", wrong]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--speed" in done.stderr


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
