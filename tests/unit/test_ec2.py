"""Instances, volumes and subnets from EC2's responses, whole and incomplete."""

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tests.fakes import StandIn
from torchneuron.aws.ec2 import (
    Instance,
    Subnet,
    Volume,
    existing_instances,
    find_instances,
    find_subnets,
    find_volumes,
    instances_by_id,
    volumes_by_instance,
)
from torchneuron.core.errors import AwsError

NOW = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
WHOLE = {
    "InstanceId": "i-1",
    "InstanceType": "trn2.3xlarge",
    "State": {"Name": "running"},
    "StateReason": {"Message": "reason"},
    "Placement": {"AvailabilityZone": "sa-east-1b"},
    "VpcId": "vpc-1",
    "SubnetId": "subnet-1",
    "SecurityGroups": [{"GroupId": "sg-1"}],
    "PublicDnsName": "ec2-1.example",
    "PublicIpAddress": "203.0.113.7",
    "IamInstanceProfile": {"Arn": "arn:profile"},
    "CapacityReservationId": "cr-1",
    "Platform": "Windows",
    "MetadataOptions": {"HttpEndpoint": "disabled"},
    "LaunchTime": NOW - timedelta(minutes=3),
    "Tags": [{"Key": "aws:ec2launchtemplate:id", "Value": "lt-1"}],
}


class FakeEc2(StandIn):
    """Responds with one page, and records the filters of every request."""

    def __init__(self, **page):
        self.page, self.filters = page, []

    def get_paginator(self, _operation):
        return self

    def paginate(self, Filters):  # noqa: N803 - botocore's name
        self.filters.append({each["Name"]: each["Values"] for each in Filters})
        date = format_datetime(NOW, usegmt=True)
        return [{**self.page, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}]


def with_instances(*instances):
    return FakeEc2(Reservations=[{"Instances": list(instances)}])


def test_an_instance_is_read_whole():
    (instance,) = find_instances(with_instances(WHOLE), {}, tags={"Project": "p"})
    assert instance == Instance(
        "i-1",
        "trn2.3xlarge",
        "running",
        "reason",
        "sa-east-1b",
        "vpc-1",
        "subnet-1",
        ("sg-1",),
        "ec2-1.example",
        "203.0.113.7",
        "arn:profile",
        "cr-1",
        is_windows=True,
        has_metadata_service=False,
        launched=NOW - timedelta(minutes=3),
        uptime=timedelta(minutes=3),
        tags={"aws:ec2launchtemplate:id": "lt-1"},
    )
    assert instance.template_id == "lt-1"


def test_missing_members_are_empty():
    ec2 = FakeEc2(
        Reservations=[{"Instances": [{"InstanceId": "i-1"}]}],
        Volumes=[{"VolumeId": "vol-1"}],
        Subnets=[{"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailabilityZone": "sa-east-1b"}],
    )
    assert find_instances(ec2, {}) == [Instance("i-1")]
    assert find_volumes(ec2, {}) == [Volume("vol-1")]
    assert find_subnets(ec2, {}) == [Subnet("subnet-1", "vpc-1", "sa-east-1b")]


def test_a_response_without_an_id_is_an_error():
    with pytest.raises(AwsError, match="look up instances"):
        find_instances(with_instances({}), {})


def test_tags_are_filters():
    ec2 = with_instances()
    find_instances(ec2, {"instance-state-name": ("running",)}, tags={"Project": "p"})
    assert ec2.filters == [{"instance-state-name": ["running"], "tag:Project": ["p"]}]


def test_ids_are_split_by_the_filter_limit():
    ec2, ids = with_instances(), [f"i-{number}" for number in range(450)]
    instances_by_id(ec2, ids)
    assert [len(filters["instance-id"]) for filters in ec2.filters] == [200, 200, 50]
    assert [id_ for filters in ec2.filters for id_ in filters["instance-id"]] == ids


def test_terminated_instances_do_not_exist():
    ec2 = with_instances(
        {"InstanceId": "i-1", "State": {"Name": "stopped"}},
        {"InstanceId": "i-2", "State": {"Name": "shutting-down"}},
        {"InstanceId": "i-3", "State": {"Name": "terminated"}},
    )
    ids = ["i-1", "i-2", "i-3"]
    assert list(instances_by_id(ec2, ids)) == ids
    assert [instance.instance_id for instance in existing_instances(ec2, ids)] == ["i-1"]


def test_volumes_by_instance_are_in_the_order_of_the_instances():
    volumes = [
        {"VolumeId": "vol-2", "Attachments": [{"InstanceId": "i-2"}]},
        {"VolumeId": "vol-1", "Attachments": [{"InstanceId": "i-1"}]},
    ]
    found = volumes_by_instance(FakeEc2(Volumes=volumes), ["i-1", "i-2", "i-3"])
    assert list(found.items()) == [("i-1", "vol-1"), ("i-2", "vol-2")]
