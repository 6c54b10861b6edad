"""Latency on request: calls, delivery and what can be seen take as long as on AWS."""

import json
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.faults.latency import PRESETS, Delays, Latency
from tests.functional.rehearsal_support import online, statuses
from tests.functional.support import eventually


def took(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_each_call_takes_as_long_and_those_at_the_same_time_wait_at_the_same_time(ec2, ssm, control):
    ssm.describe_instance_information()
    control("latency", {"request": 3})
    assert took(ec2.describe_vpcs) >= 3
    with ThreadPoolExecutor(8) as pool:
        assert took(lambda: list(pool.map(lambda _: ssm.describe_instance_information(), range(8)))) < 24
    assert took(lambda: control("status")) < 3


def test_what_is_shown_of_a_command_lags_behind(ssm, launch, document, machines, control):
    (instance,) = launch()
    eventually(lambda: online(ssm) == {instance})
    control("latency", {"lag": 600, "visible": 0, "delivery": 0})
    name = document(("first", ["out x"]), ("second", ["wait"]))
    command_id = ssm.send_command(InstanceIds=[instance], DocumentName=name)["Command"]["CommandId"]

    def shown():
        (found,) = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
        return found["Status"], statuses(found)["first"]

    eventually(lambda: len(machines.made[instance].calls) == 2)
    assert shown() == ("Pending", "Pending")
    assert ssm.list_commands(CommandId=command_id)["Commands"][0]["Status"] == "Pending"
    control("latency", {"lag": 2})
    eventually(lambda: shown() == ("InProgress", "Success"))
    machines.made[instance].proceed.set()
    begun = time.monotonic()
    eventually(lambda: shown()[0] == "Success")
    assert time.monotonic() - begun > 1.9


def test_a_command_takes_the_time_of_its_delivery(ssm, launch, document, machines, control):
    (instance,) = launch()
    eventually(lambda: online(ssm) == {instance})
    control("latency", {"delivery": 0.6})
    ssm.send_command(InstanceIds=[instance], DocumentName=document(("a", ["out x"])))
    assert took(lambda: eventually(lambda: bool(machines.made[instance].calls))) > 0.5


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
    for wrong in ({}, {"preset": "moon"}, {"lag": -1}, {"lag": True}, {"speed": 1}, {"preset": "aws", "lag": 1}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            control("latency", wrong)
        assert refused.value.code == 400
        assert json.load(refused.value)["error"]


def test_nothing_changes_when_one_of_several_is_wrong():
    latency = Latency(PRESETS["none"])
    with pytest.raises(ValueError, match="lag"):
        latency.change({"request": 1, "lag": "x"})
    assert latency.now == Delays()
