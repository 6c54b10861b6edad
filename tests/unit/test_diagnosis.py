"""What keeps Systems Manager from an instance: a verdict for each set of facts, and nothing looked at twice."""

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from torchneuron.aws.ec2 import Instance
from torchneuron.connectivity.agent_role import allows_agent
from torchneuron.connectivity.diagnosis import STARTING, Cause, diagnose
from torchneuron.connectivity.facts import Facts, Registration, Role, Route, Unseen

NOT_ALLOWED = Unseen("Could not look at it: a permission is missing.", "aws some command")
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
    egress=True,
    route=Route("rtb-1", "igw-1"),
    endpoints=frozenset(),
)
BARE = Role("good", "good-role", lets_agent_in=False)
PRIVATE = dataclasses.replace(RUNNING, public_ip="")
SHUT_IN = {"instance": PRIVATE, "route": Route("rtb-1")}
YOUNG = dataclasses.replace(RUNNING, uptime=STARTING - timedelta(seconds=1))


def but(**changes):
    return dataclasses.replace(GOOD, **changes)


def running(**changes):
    return {"instance": dataclasses.replace(RUNNING, **changes)}


@pytest.mark.parametrize(
    ("changes", "cause", "why", "do"),
    [
        ({"instance": None}, Cause.ABSENT, "no instance i-1 in sa-east-1", "Name its region"),
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
        (running(has_metadata_service=False), Cause.ROLE, "metadata service is turned off", "--http-endpoint enabled"),
        ({"role": None}, Cause.ROLE, "no instance profile", "associate-iam-instance-profile"),
        ({"role": None}, Cause.ROLE, "is off, too", "within an hour"),
        ({"role": None, **running(uptime=timedelta(0))}, Cause.ROLE, "no instance profile", "reboot-instances"),
        (
            {"role": None, "default_role": NOT_ALLOWED},
            Cause.ROLE,
            "Who may look: aws some command",
            "get-service-setting",
        ),
        ({"role": None, "default_role": "Dflt"}, Cause.AGENT, "Default Host Management Configuration (Dflt)", ""),
        ({"role": BARE, "default_role": "Dflt"}, Cause.AGENT, "from 3.2.582.0 on", ""),
        ({"role": BARE}, Cause.ROLE, "good-role does not allow", "attach-role-policy --role-name good-role"),
        ({"role": Role("good", "")}, Cause.ROLE, "good has no role in it", "add-role-to-instance-profile"),
        (
            {"role": Role("good", "", profile_exists=False)},
            Cause.ROLE,
            "was deleted",
            "replace-iam-instance-profile",
        ),
        ({"egress": False}, Cause.NETWORK, "(sg-1) lets HTTPS out", "authorize-security-group-egress"),
        (SHUT_IN, Cause.NETWORK, "subnet-1 has no default route (rtb-1)", "create-route"),
        (
            {**SHUT_IN, "endpoints": frozenset({"ssm"})},
            Cause.NETWORK,
            "for ssmmessages either",
            "sa-east-1.ssmmessages",
        ),
        ({**SHUT_IN, "endpoints": frozenset({"ssm", "ssmmessages"})}, Cause.AGENT, "never registered", ""),
        ({**SHUT_IN, "endpoints": NOT_ALLOWED}, Cause.AGENT, "Who may look: aws some command", ""),
        ({"instance": PRIVATE}, Cause.NETWORK, "no public IP address", "associate-address"),
        ({"instance": PRIVATE, "route": Route("rtb-1", "nat-1")}, Cause.AGENT, "never registered", ""),
        ({"instance": PRIVATE, "route": Route("rtb-1", "tgw-1")}, Cause.AGENT, "leaves by tgw-1", ""),
        ({"route": Route("rtb-1", "nat-1", blackhole=True)}, Cause.NETWORK, "nat-1, which is gone", "replace-route"),
        ({"instance": YOUNG}, Cause.STARTING, "It was started 299 s ago", "get-console-output"),
        ({"instance": YOUNG, "registration": LOST}, Cause.STARTING, "299 s", ""),
        ({}, Cause.AGENT, "Its role and network let it, but its agent never registered", "get-console-output"),
        ({}, Cause.AGENT, "before it had its role", "restart amazon-ssm-agent"),
        ({"registration": LOST}, Cause.AGENT, "(3.3.40.0) was not heard of since 2026-01-05 09:30 UTC", "reboot"),
        ({"registration": NOT_ALLOWED}, Cause.AGENT, "so it is its agent", "describe-instance-information"),
        ({"role": NOT_ALLOWED}, Cause.AGENT, "As far as could be looked at, its role and network", ""),
        ({"role": Role("p", "r", NOT_ALLOWED)}, Cause.AGENT, "Who may look: aws some command", ""),
        ({"route": NOT_ALLOWED, "egress": NOT_ALLOWED}, Cause.AGENT, "Who may look: aws some command", ""),
        ({"role": None, "route": NOT_ALLOWED}, Cause.ROLE, "Could not look at it: a permission is missing.", ""),
    ],
)
def test_a_verdict(changes, cause, why, do):
    found = diagnose(but(**changes))
    assert found.cause is cause
    assert why in found.why
    assert do in "\n".join(found.do)


def test_where_the_instance_cannot_be_looked_at():
    assert diagnose(Facts("i-1", "sa-east-1", NOT_ALLOWED)).cause is Cause.UNKNOWN
    assert diagnose(Facts("i-1", "sa-east-1", NOT_ALLOWED, LOST)).cause is Cause.AGENT


def test_what_could_not_be_looked_at_is_told_once():
    found = diagnose(but(route=NOT_ALLOWED, egress=NOT_ALLOWED, role=NOT_ALLOWED))
    assert found.why.count(NOT_ALLOWED.why) == 1


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
def test_policies_that_let_an_agent_in(documents, allowed):
    assert allows_agent(documents) is allowed
