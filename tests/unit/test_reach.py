"""Waiting for instances: few questions, at a pace, to a limit, and not for what will never come."""

from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from tests.fakes import StandIn
from torchneuron.connectivity.online import online, wait_until_online
from torchneuron.core.errors import AccessError, InputError, NotFoundError


class Time:
    """A clock that only a sleep moves. `passed`: seconds."""

    def __init__(self):
        self.passed = 0.0
        self.pauses = []

    def clock(self):
        return self.passed

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.passed += seconds


class FakeAws(StandIn):
    """SSM and EC2 in which instance N comes online N·`each` seconds after the start; all other lookups are denied."""

    region = "sa-east-1"

    def __init__(self, time, *, each=0.0, states=None, windows=(), refused=(), silent=0):
        self.time, self.each, self.states = time, each, states or {}
        self.windows, self.refused, self.silent = windows, refused, silent
        self.asked, self.looked = [], 0

    def brief(self):
        return self

    def ssm(self):
        return self

    ec2 = iam = ssm

    def get_paginator(self, operation):
        known = {"describe_instance_information": self._information, "describe_instances": self._instances}
        return _Pages(known.get(operation, self._denied))

    def _information(self, Filters, **_):  # noqa: N803 - botocore's name
        ids = Filters[0]["Values"]
        assert 1 <= len(ids) <= 100
        self.asked.append(len(ids))
        if self.silent:
            self.silent -= 1
            raise ConnectTimeoutError(endpoint_url="https://ssm")
        if any(one in self.refused for one in ids):
            raise ClientError({"Error": {"Code": "InvalidInstanceId"}}, "DescribeInstanceInformation")
        online = [one for one in ids if int(one[2:]) * self.each <= self.time.passed and self._state(one) == "running"]
        for start in range(0, len(online), 50):
            yield {"InstanceInformationList": [self._shown(one) for one in online[start : start + 50]]}

    def _shown(self, one):
        return {
            "InstanceId": one,
            "PingStatus": "Online",
            "PlatformType": "Windows" if one in self.windows else "Linux",
        }

    def _state(self, one):
        return self.states.get(one, "running")

    def _instances(self, Filters):  # noqa: N803 - botocore's name
        self.looked += 1
        launched = datetime.now(timezone.utc)
        there = [one for one in Filters[0]["Values"] if self._state(one) != "absent"]
        shown = [{"InstanceId": one, "State": {"Name": self._state(one)}, "LaunchTime": launched} for one in there]
        yield {"Reservations": [{"Instances": shown}]}

    def _denied(self, **_):
        raise ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "Some")

    describe_route_tables = describe_security_groups = get_service_setting = _denied


class _Pages:
    def __init__(self, answer):
        self.paginate = answer


def names(count):
    return [f"i-{number}" for number in range(1, count + 1)]


@pytest.fixture
def time():
    return Time()


def wait(aws, ids, seconds=600.0, **more):
    wait_until_online(aws, ids, seconds=seconds, clock=aws.time.clock, sleep=aws.time.sleep, **more)


def test_a_fleet_is_asked_for_in_one_call_and_only_what_is_missing(time):
    aws = FakeAws(time, each=0.5)
    told: list[Any] = []
    wait(aws, names(64), tell=told.append)
    assert aws.asked[0] == 64
    assert aws.asked == sorted(aws.asked, reverse=True)
    assert told[0] == "0 of 64 online"
    assert told[-1] == "64 of 64 online"
    assert time.passed < 32 + 10


def test_the_pauses_grow_to_a_limit(time):
    wait(FakeAws(time, each=100), ["i-1"])
    assert time.pauses[0] == 2
    assert time.pauses == sorted(time.pauses)
    assert max(time.pauses) == 10


def test_more_than_a_filter_takes(time):
    aws = FakeAws(time)
    wait(aws, [*names(230), "i-1"], seconds=0)
    assert aws.asked == [100, 100, 30]


def test_nobody_is_waited_for_longer_than_asked(time):
    with pytest.raises(NotFoundError, match="i-1 after 60 s: role"):
        wait(FakeAws(time, each=1e9), ["i-1"], seconds=60)
    assert time.passed == 60


@pytest.mark.parametrize("state", ["absent", "stopped", "terminated"])
def test_what_will_not_come_is_not_waited_for(time, state):
    aws = FakeAws(time, states={"i-2": state})
    with pytest.raises(NotFoundError, match="i-2"):
        wait(aws, names(2))
    assert time.passed == 2


def test_what_ends_meanwhile_is_noticed(time):
    aws = FakeAws(time, each=1e9)
    aws.states = _Ending(time, at=100)
    with pytest.raises(NotFoundError, match="not running"):
        wait(aws, ["i-1"])
    assert time.passed < 150
    assert aws.looked < 7


class _Ending:
    """States of instances that are terminated at a time."""

    def __init__(self, time, at):
        self.time, self.at = time, at

    def get(self, one, default):
        return "terminated" if self.time.passed >= self.at else default


def test_an_id_that_ssm_refuses_hides_no_other(time):
    aws = FakeAws(time, refused=["i-3"], states={"i-3": "absent"})
    with pytest.raises(NotFoundError, match="does not reach 1 of 5 instances") as refused:
        wait(aws, names(5), seconds=0)
    assert "i-3: no such instance here" in refused.value.why
    assert "i-2" not in refused.value.why


def test_windows_is_refused_at_once(time):
    with pytest.raises(InputError, match="i-2 runs Windows"):
        wait(FakeAws(time, windows=["i-2"]), names(2))
    assert time.passed == 0


def test_an_answer_that_did_not_come_ends_no_wait(time):
    wait(FakeAws(time, silent=2), ["i-1"])
    assert len(time.pauses) == 2


def test_a_refusal_ends_it(time):
    aws = FakeAws(time)
    aws._information = aws._denied  # type: ignore[assignment]
    with pytest.raises(AccessError):
        wait(aws, ["i-1"])


def test_which_of_some_are_online(time):
    assert online(FakeAws(time), ["i-1"]) == {"i-1"}
    assert online(FakeAws(time, each=5), ["i-1"]) == set()
