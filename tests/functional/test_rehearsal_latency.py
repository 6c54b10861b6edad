"""Injected latency of calls, command delivery and status updates."""

import json
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.faults.latency import PRESETS, Delays, Latency
from tests.functional.rehearsal_support import online, statuses
from tests.functional.support import eventually


def duration(call):
    """Seconds that a call takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_each_call_is_delayed_and_parallel_calls_wait_in_parallel(ec2, ssm, control):
    ssm.describe_instance_information()
    control("latency", {"request": 3})
    assert duration(ec2.describe_vpcs) >= 3
    with ThreadPoolExecutor(8) as pool:
        assert duration(lambda: list(pool.map(lambda _: ssm.describe_instance_information(), range(8)))) < 24
    assert duration(lambda: control("status")) < 3


def test_status_of_a_command_lags(ssm, launch, document, machines, control):
    (instance,) = launch()
    eventually(lambda: online(ssm) == {instance})
    control("latency", {"lag": 600, "visible": 0, "delivery": 0})
    name = document(("first", ["out x"]), ("second", ["wait"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]

    def reported():
        (found,) = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        return found["Status"], statuses(found)["first"]

    eventually(lambda: len(machines.made[instance].calls) == 2)
    assert reported() == ("Pending", "Pending")
    assert ssm.list_commands(CommandId=command_id)["Commands"][0]["Status"] == "Pending"
    control("latency", {"lag": 2})
    eventually(lambda: reported() == ("InProgress", "Success"))
    machines.made[instance].proceed.set()
    started = time.monotonic()
    eventually(lambda: reported()[0] == "Success")
    assert time.monotonic() - started > 1.9


def test_delivery_of_a_command_is_delayed(ssm, launch, document, machines, control):
    (instance,) = launch()
    eventually(lambda: online(ssm) == {instance})
    control("latency", {"delivery": 0.6})
    ssm.send_command(InstanceIds=[instance], DocumentName=document(("a", ["out x"])))
    assert duration(lambda: eventually(lambda: bool(machines.made[instance].calls))) > 0.5


def test_presets_and_settings(control):
    assert control("latency", {"preset": "aws"}) == {
        "visible": 1.0,
        "delivery": 1.5,
        "request": 0.1,
        "lag": 1.0,
        "wave": 0.1,
        "given_up": 3.0,
    }
    assert control("latency", {"lag": 2})["request"] == 0.1
    control("reset", {})
    assert control("latency")["request"] == 0
    for invalid in ({}, {"preset": "moon"}, {"lag": -1}, {"lag": True}, {"speed": 1}, {"preset": "aws", "lag": 1}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control("latency", invalid)
        assert refused.value.code == 400
        assert json.load(refused.value)["error"]


def test_nothing_changes_when_one_of_several_settings_is_invalid():
    latency = Latency(PRESETS["none"])
    with pytest.raises(ValueError, match="lag"):
        latency.change({"request": 1, "lag": "x"})
    assert latency.now == Delays()
