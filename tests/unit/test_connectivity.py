"""Diagnosis of instances that Systems Manager does not reach, and waiting until it reaches them."""

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from tests.fakes import StandIn
from torchneuron.aws.ec2 import Instance
from torchneuron.connectivity.agent_role import allows_agent
from torchneuron.connectivity.diagnosis import BOOT_TIME, Cause, diagnose
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unknown
from torchneuron.connectivity.online import online_instances, wait_until_online
from torchneuron.core.errors import AccessError, InputError, NotFoundError

NOT_ALLOWED = Unknown("Could not look it up: a permission is missing.", "aws some command")
RUNNING = Instance(
    "i-1",
    state="running",
    uptime=timedelta(hours=1),
    profile_arn="arn:aws:iam::123456789012:instance-profile/good",
    public_ip="203.0.113.7",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    security_group_ids=("sg-1",),
)
LOST = Registration("ConnectionLost", datetime(2026, 1, 5, 9, 30, tzinfo=timezone.utc), "3.3.40.0")
GOOD = Facts(
    "i-1",
    "sa-east-1",
    RUNNING,
    None,
    role=Role("good", "good-role"),
    default_role="",
    allows_https_out=True,
    route=Route("rtb-1", "igw-1"),
    endpoints=frozenset(),
)
BARE = Role("good", "good-role", allows_agent=False)
PRIVATE = dataclasses.replace(RUNNING, public_ip="")
NO_ROUTE = {"instance": PRIVATE, "route": Route("rtb-1")}
YOUNG = dataclasses.replace(RUNNING, uptime=BOOT_TIME - timedelta(seconds=1))


def facts(**changes):
    return dataclasses.replace(GOOD, **changes)


def running(**changes):
    return {"instance": dataclasses.replace(RUNNING, **changes)}


@pytest.mark.parametrize(
    ("changes", "cause", "why", "do"),
    [
        ({"instance": None}, Cause.ABSENT, "no instance i-1 in sa-east-1", "add -r REGION"),
        (
            running(state="stopped", state_reason="by you"),
            Cause.NOT_RUNNING,
            "It is stopped: by you.",
            "start-instances",
        ),
        (running(state="terminated"), Cause.NOT_RUNNING, "It is terminated.", ""),
        (running(state="pending"), Cause.STARTING, "EC2 is starting it", ""),
        (running(is_windows=True), Cause.WINDOWS, "Windows", "Linux"),
        ({"registration": dataclasses.replace(LOST, is_windows=True)}, Cause.WINDOWS, "Windows", "Linux"),
        (running(has_metadata_service=False), Cause.ROLE, "metadata service is off", "--http-endpoint enabled"),
        ({"role": None}, Cause.ROLE, "no instance profile", "associate-iam-instance-profile"),
        ({"role": None}, Cause.ROLE, "is off as well", "within an hour"),
        ({"role": None, **running(uptime=timedelta(0))}, Cause.ROLE, "no instance profile", "reboot-instances"),
        (
            {"role": None, "default_role": NOT_ALLOWED},
            Cause.ROLE,
            "To check it: aws some command",
            "get-service-setting",
        ),
        ({"role": None, "default_role": "Dflt"}, Cause.AGENT, "Default Host Management Configuration (Dflt)", ""),
        ({"role": BARE, "default_role": "Dflt"}, Cause.AGENT, "needs agent 3.2.582.0", ""),
        ({"role": BARE}, Cause.ROLE, "good-role does not allow", "attach-role-policy --role-name good-role"),
        ({"role": Role("good", "")}, Cause.ROLE, "good has no role", "add-role-to-instance-profile"),
        (
            {"role": Role("good", "", profile_exists=False)},
            Cause.ROLE,
            "was deleted",
            "replace-iam-instance-profile",
        ),
        ({"allows_https_out": False}, Cause.NETWORK, "(sg-1) allows outbound HTTPS", "authorize-security-group-egress"),
        (NO_ROUTE, Cause.NETWORK, "subnet-1 has no default route (rtb-1)", "create-route"),
        (
            {**NO_ROUTE, "endpoints": frozenset({"ssm"})},
            Cause.NETWORK,
            "for ssmmessages either",
            "sa-east-1.ssmmessages",
        ),
        ({**NO_ROUTE, "endpoints": frozenset({"ssm", "ssmmessages"})}, Cause.AGENT, "never registered", ""),
        ({**NO_ROUTE, "endpoints": NOT_ALLOWED}, Cause.AGENT, "To check it: aws some command", ""),
        ({"instance": PRIVATE}, Cause.NETWORK, "no public IP address", "associate-address"),
        ({"instance": PRIVATE, "route": Route("rtb-1", "nat-1")}, Cause.AGENT, "never registered", ""),
        ({"instance": PRIVATE, "route": Route("rtb-1", "tgw-1")}, Cause.AGENT, "leaves through tgw-1", ""),
        (
            {"route": Route("rtb-1", "nat-1", is_blackhole=True)},
            Cause.NETWORK,
            "nat-1 of the default route",
            "replace-route",
        ),
        ({"instance": YOUNG}, Cause.STARTING, "It started 299 s ago", "get-console-output"),
        ({"instance": YOUNG, "registration": LOST}, Cause.STARTING, "299 s", ""),
        ({}, Cause.AGENT, "Its role and network are fine, but its agent never registered", "get-console-output"),
        ({}, Cause.AGENT, "before it had its role", "restart amazon-ssm-agent"),
        ({"registration": LOST}, Cause.AGENT, "(3.3.40.0) has not responded since 2026-01-05 09:30 UTC", "reboot"),
        ({"registration": NOT_ALLOWED}, Cause.AGENT, "so the problem is its agent", "describe-instance-information"),
        ({"role": NOT_ALLOWED}, Cause.AGENT, "As far as is known, its role and network", ""),
        ({"role": Role("p", "r", NOT_ALLOWED)}, Cause.AGENT, "To check it: aws some command", ""),
        ({"route": NOT_ALLOWED, "allows_https_out": NOT_ALLOWED}, Cause.AGENT, "To check it: aws some command", ""),
        ({"role": None, "route": NOT_ALLOWED}, Cause.ROLE, "Could not look it up: a permission is missing.", ""),
    ],
)
def test_diagnosis(changes, cause, why, do):
    found = diagnose(facts(**changes))
    assert found.cause is cause
    assert why in found.why
    assert do in "\n".join(found.do)


def test_diagnosis_without_the_instance():
    assert diagnose(Facts("i-1", "sa-east-1", NOT_ALLOWED)).cause is Cause.UNKNOWN
    assert diagnose(Facts("i-1", "sa-east-1", NOT_ALLOWED, LOST)).cause is Cause.AGENT


def test_an_unknown_fact_is_listed_once():
    found = diagnose(facts(route=NOT_ALLOWED, allows_https_out=NOT_ALLOWED, role=NOT_ALLOWED))
    assert found.why.count(NOT_ALLOWED.error) == 1


def statement(effect, **more):
    return {"Statement": [{"Effect": effect, "Resource": "*", **more}]}


@pytest.mark.parametrize(
    ("documents", "allowed"),
    [
        ([], False),
        ([statement("Allow", Action="*")], True),
        ([statement("Allow", Action=["SSM:update*", "ssmmessages:*"])], True),
        ([statement("Allow", Action="ssm:*"), statement("Allow", Action="ec2messages:GetMessage?")], True),
        ([statement("Allow", Action="ssm:*")], False),
        ([statement("Allow", Action="ssmmessages:*")], False),
        ([statement("Allow", Action="*"), statement("Deny", Action="ssm:UpdateInstanceInformation")], False),
        ([statement("Allow", NotAction="iam:*")], True),
        ([statement("Allow", NotAction=["ssm:*"])], False),
        ([{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}], True),
    ],
)
def test_policies_that_allow_the_agent(documents, allowed):
    assert allows_agent(documents) is allowed


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
    """SSM and EC2 where instance N comes online N·`each` seconds after the start. All other lookups are denied."""

    region = "sa-east-1"

    def __init__(self, time, *, each=0.0, states=None, windows=(), refused=(), unanswered=0):
        self.time, self.each, self.states = time, each, states or {}
        self.windows, self.refused, self.unanswered = windows, refused, unanswered
        self.batches, self.ec2_calls = [], 0

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
        self.batches.append(len(ids))
        if self.unanswered:
            self.unanswered -= 1
            raise ConnectTimeoutError(endpoint_url="https://ssm")
        if any(id_ in self.refused for id_ in ids):
            raise ClientError({"Error": {"Code": "InvalidInstanceId"}}, "DescribeInstanceInformation")
        online = [id_ for id_ in ids if int(id_[2:]) * self.each <= self.time.passed and self._state(id_) == "running"]
        for start in range(0, len(online), 50):
            yield {"InstanceInformationList": [self._information_item(id_) for id_ in online[start : start + 50]]}

    def _information_item(self, instance_id):
        return {
            "InstanceId": instance_id,
            "PingStatus": "Online",
            "PlatformType": "Windows" if instance_id in self.windows else "Linux",
        }

    def _state(self, instance_id):
        return self.states.get(instance_id, "running")

    def _instances(self, Filters):  # noqa: N803 - botocore's name
        self.ec2_calls += 1
        launched = datetime.now(timezone.utc)
        existing = [id_ for id_ in Filters[0]["Values"] if self._state(id_) != "absent"]
        items = [{"InstanceId": id_, "State": {"Name": self._state(id_)}, "LaunchTime": launched} for id_ in existing]
        yield {"Reservations": [{"Instances": items}]}

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


def wait(aws, ids, seconds=600.0, **options):
    wait_until_online(aws, ids, seconds=seconds, clock=aws.time.clock, sleep=aws.time.sleep, **options)


def test_a_fleet_is_polled_in_one_call_for_offline_instances_only(time):
    aws = FakeAws(time, each=0.5)
    progress: list[str] = []
    wait(aws, names(64), report=progress.append)
    assert aws.batches[0] == 64
    assert aws.batches == sorted(aws.batches, reverse=True)
    assert progress[0] == "0 of 64 online"
    assert progress[-1] == "64 of 64 online"
    assert time.passed < 32 + 10


def test_pauses_grow_to_a_limit(time):
    wait(FakeAws(time, each=100), ["i-1"])
    assert time.pauses[0] == 2
    assert time.pauses == sorted(time.pauses)
    assert max(time.pauses) == 10


def test_ids_are_split_by_the_filter_limit(time):
    aws = FakeAws(time)
    wait(aws, [*names(230), "i-1"], seconds=0)
    assert aws.batches == [100, 100, 30]


def test_waiting_ends_after_the_given_time(time):
    with pytest.raises(NotFoundError, match="i-1 after 60 s: role problem"):
        wait(FakeAws(time, each=1e9), ["i-1"], seconds=60)
    assert time.passed == 60


@pytest.mark.parametrize("state", ["absent", "stopped", "terminated"])
def test_instances_that_never_come_online_are_not_waited_for(time, state):
    aws = FakeAws(time, states={"i-2": state})
    with pytest.raises(NotFoundError, match="i-2"):
        wait(aws, names(2))
    assert time.passed == 2


def test_an_instance_that_is_terminated_ends_the_wait(time):
    aws = FakeAws(time, each=1e9)
    aws.states = _TerminatedAt(time, at=100)
    with pytest.raises(NotFoundError, match="not running"):
        wait(aws, ["i-1"])
    assert time.passed < 150
    assert aws.ec2_calls < 7


class _TerminatedAt:
    """States of instances that are terminated at a certain time."""

    def __init__(self, time, at):
        self.time, self.at = time, at

    def get(self, instance_id, default):
        return "terminated" if self.time.passed >= self.at else default


def test_an_id_that_ssm_rejects_does_not_hide_others(time):
    aws = FakeAws(time, refused=["i-3"], states={"i-3": "absent"})
    with pytest.raises(NotFoundError, match="does not reach 1 of 5 instances") as raised:
        wait(aws, names(5), seconds=0)
    assert "i-3: instance not found" in raised.value.why
    assert "i-2" not in raised.value.why


def test_windows_is_refused_at_once(time):
    with pytest.raises(InputError, match="i-2 runs Windows"):
        wait(FakeAws(time, windows=["i-2"]), names(2))
    assert time.passed == 0


def test_waiting_continues_after_a_timeout(time):
    wait(FakeAws(time, unanswered=2), ["i-1"])
    assert len(time.pauses) == 2


def test_a_denied_lookup_ends_the_wait(time):
    aws = FakeAws(time)
    aws._information = aws._denied  # type: ignore[assignment]
    with pytest.raises(AccessError):
        wait(aws, ["i-1"])


def test_online_instances(time):
    assert online_instances(FakeAws(time), ["i-1"]) == {"i-1"}
    assert online_instances(FakeAws(time, each=5), ["i-1"]) == set()
