"""Which running machines that no state has are imported, and which are not."""

from typing import Any

import pytest

from torchneuron.core.errors import InputError
from torchneuron.deploy import adoption
from torchneuron.deploy.adoption import Launch, LaunchRecord
from torchneuron.deploy.state import State

REGION = "sa-east-1"
TEMPLATE = "lt-1"
LAUNCH = Launch("trn2.3xlarge", "cr-1", "subnet-1")


class Ec2:
    """Instances with the project's tags, as `describe_instances` lists them: all, or those requested by id."""

    def __init__(self, *instances):
        self.instances = instances

    def get_paginator(self, operation):
        self.operation = operation
        return self

    def paginate(self, Filters):  # noqa: N803 - boto3's own
        filters = {condition["Name"]: condition["Values"] for condition in Filters}
        if self.operation == "describe_volumes":
            attached = {"VolumeId": "vol-1", "Attachments": [{"InstanceId": "i-with-data"}]}
            return [{"Volumes": [attached] if "i-with-data" in filters["attachment.instance-id"] else []}]
        assert self.operation == "describe_instances"
        assert filters.get("tag:Project", ["a-project"]) == ["a-project"]
        ids = filters.get("instance-id") or [instance["InstanceId"] for instance in self.instances]
        found = [instance for instance in self.instances if instance["InstanceId"] in ids]
        return [{"Reservations": [{"Instances": found}]}]


class Iam:
    def get_instance_profile(self, InstanceProfileName):  # noqa: N803 - boto3's own
        return {"InstanceProfile": {"Roles": [{"RoleName": f"role-of-{InstanceProfileName}"}]}}


class Aws:
    region = REGION

    def __init__(self, *instances):
        self._ec2 = Ec2(*instances)

    def ec2(self):
        return self._ec2

    def iam(self):
        return Iam()


def state_of(*machines, template=TEMPLATE, outputs=()):
    resources = {f"aws_instance.machine[{index}]": {"id": id_} for index, id_ in enumerate(machines)}
    if template:
        resources["aws_launch_template.machine"] = {"id": template}
    return State({"instance_ids": list(outputs)}, resources)


def instance(instance_id, template=TEMPLATE, reservation="cr-1", subnet="subnet-1", kind="trn2.3xlarge"):
    return {
        "InstanceId": instance_id,
        "InstanceType": kind,
        "State": {"Name": "running"},
        "Placement": {"AvailabilityZone": "sa-east-1b"},
        "CapacityReservationId": reservation,
        "SubnetId": subnet,
        "SecurityGroups": [{"GroupId": "sg-1"}],
        "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/a-profile"},
        "Tags": [{"Key": "aws:ec2launchtemplate:id", "Value": template}],
    }


def assigned(state, *instances, count=1, unfinished=None):
    """The addresses of adoptable machines, once all others are refused."""
    aws: Any = Aws(*instances)
    untracked = adoption.find(aws, state, unfinished, project="a-project")
    found = adoption.assign(aws, state, untracked, count=count)
    adoption.refuse_others(aws, untracked, found, project="a-project")
    return {address: machine.instance_id for address, machine in found.items()}


def test_known_machines_are_not_untracked():
    assert assigned(state_of("i-1", outputs=["i-1"]), instance("i-1")) == {}
    assert assigned(state_of()) == {}


def test_machine_missing_from_the_outputs_only_is_not_imported():
    assert assigned(state_of("i-1"), instance("i-1")) == {}


def test_adoptable_machines_get_free_addresses():
    state = state_of("i-1", outputs=["i-1"])
    found = assigned(state, instance("i-1"), instance("i-2"), instance("i-3"), count=3)
    assert found == {"aws_instance.machine[1]": "i-2", "aws_instance.machine[2]": "i-3"}


def test_adoptable_machine_replaces_one_that_is_gone():
    """As after the end of a block, and a deploy on the next one that was killed."""
    assert assigned(state_of("i-gone", outputs=["i-gone"]), instance("i-2")) == {"aws_instance.machine[0]": "i-2"}


def test_machine_from_another_template_is_foreign():
    with pytest.raises(InputError, match="i-2 runs with this project's tags") as refused:
        assigned(state_of(), instance("i-2", "lt-9"), unfinished=LAUNCH)
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in refused.value.do


def test_machine_of_an_unfinished_launch_is_adoptable_without_its_template():
    assert assigned(state_of(template=""), instance("i-2"), unfinished=LAUNCH) == {"aws_instance.machine[0]": "i-2"}


@pytest.mark.attack("import the machine of another deployment with the same project name")
@pytest.mark.parametrize(
    ("unfinished", "machine"),
    [
        (None, instance("i-2")),
        (LAUNCH, instance("i-2", reservation="cr-9")),
        (LAUNCH, instance("i-2", subnet="subnet-9")),
        (LAUNCH, instance("i-2", kind="trn2.48xlarge")),
        (LAUNCH, instance("i-2", template="")),
    ],
)
def test_machine_without_proof_is_foreign(unfinished, machine):
    with pytest.raises(InputError, match="i-2 runs with this project's tags"):
        assigned(state_of(template=""), machine, unfinished=unfinished)


def test_more_machines_than_there_is_room_for_are_refused():
    with pytest.raises(InputError, match="i-3 runs with this project's tags"):
        assigned(state_of("i-1", outputs=["i-1"]), *map(instance, ("i-1", "i-2", "i-3")), count=2)


def test_untracked_machines_are_sorted_by_what_the_state_has():
    machines = (instance("i-1"), instance("i-2"), instance("i-3", "lt-9"), instance("i-4"))
    aws: Any = Aws(*machines)
    untracked = adoption.find(aws, state_of("i-1", "i-4", outputs=["i-1"]), None, project="a-project")
    assert [machine.instance_id for machine in untracked.in_state] == ["i-4"]
    assert [machine.instance_id for machine in untracked.adoptable] == ["i-2"]
    assert [machine.instance_id for machine in untracked.foreign] == ["i-3"]


def imports(state, *instances, unfinished=None):
    aws: Any = Aws(*instances)
    found = adoption.assign(aws, state, adoption.find(aws, state, unfinished, project="a-project"), count=1)
    return adoption.imports(aws, state, found)


def test_everything_a_machine_was_launched_from_is_imported_with_it():
    assert imports(state_of(template=""), instance("i-with-data"), unfinished=LAUNCH) == {
        "aws_instance.machine[0]": "i-with-data",
        "aws_launch_template.machine": TEMPLATE,
        "aws_security_group.machine": "sg-1",
        "aws_iam_instance_profile.machine": "a-profile",
        "aws_iam_role.machine": "role-of-a-profile",
        "aws_iam_role_policy.machine": "role-of-a-profile:machine",
        "aws_ebs_volume.data[0]": "vol-1",
    }


def test_what_the_state_has_is_not_imported_again():
    state = State(
        {},
        {
            f"{kind}.machine": {"id": TEMPLATE}
            for kind in (
                "aws_launch_template",
                "aws_security_group",
                "aws_iam_instance_profile",
                "aws_iam_role",
                "aws_iam_role_policy",
            )
        },
    )
    assert imports(state, instance("i-2")) == {"aws_instance.machine[0]": "i-2"}


def test_launch_record_lasts_until_a_launch_succeeds(tmp_path):
    record = LaunchRecord(tmp_path)
    assert record.unfinished() is None
    record.begin(LAUNCH)
    record.begin(Launch("trn2.48xlarge"))  # the machines of the first may still have to be found
    assert LaunchRecord(tmp_path).unfinished() == LAUNCH
    record.succeed()
    record.succeed()
    assert record.unfinished() is None


def test_machines_that_still_run_after_a_removal_are_named(capsys):
    adoption.warn_of(["i-2"], "a-project", REGION)
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in capsys.readouterr().err
    adoption.warn_of([], "a-project", REGION)
    assert capsys.readouterr().err == ""
