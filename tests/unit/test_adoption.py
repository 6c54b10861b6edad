"""Which machines that no state knows are taken over, and which are not."""

import pytest

from tests.fakes import StandIn
from torchneuron.core.errors import InputError
from torchneuron.deploy import adoption

REGION = "sa-east-1"
TEMPLATE = "lt-1"


class Ec2(StandIn):
    """Instances with the project's tags, as `describe_instances` lists them: all, or those asked for by id."""

    def __init__(self, *instances):
        self.instances = instances

    def get_paginator(self, operation):
        assert operation == "describe_instances"
        return self

    def paginate(self, Filters):  # noqa: N803 - boto3's own
        wanted = {one["Name"]: one["Values"] for one in Filters}
        assert wanted.get("tag:Project", ["a-project"]) == ["a-project"]
        ids = wanted.get("instance-id") or [one["InstanceId"] for one in self.instances]
        return [{"Reservations": [{"Instances": [one for one in self.instances if one["InstanceId"] in ids]}]}]


class Aws(StandIn):
    region = REGION

    def __init__(self, *instances):
        self._ec2 = Ec2(*instances)

    def ec2(self):
        return self._ec2


class FakeTerraform(StandIn):
    def __init__(self, **held):
        self.held = {
            f"aws_instance.machine[{index}]": {"id": one} for index, one in enumerate(held.get("machines", ()))
        }
        self.held["aws_launch_template.machine"] = {"id": TEMPLATE}
        self.asked, self.taken, self.forgotten = 0, [], []

    def resources(self):
        self.asked += 1
        return self.held

    def adopt(self, address, identity):
        self.taken.append((address, identity))

    def forget(self, addresses):
        self.forgotten += addresses


def instance(instance_id, template=TEMPLATE):
    return {
        "InstanceId": instance_id,
        "InstanceType": "trn2.3xlarge",
        "State": {"Name": "running"},
        "Placement": {"AvailabilityZone": "sa-east-1b"},
        "Tags": [{"Key": "aws:ec2launchtemplate:id", "Value": template}],
    }


def look(terraform, *instances, known=()):
    return adoption.look(Aws(*instances), terraform, project="a-project", known=known)


def find(terraform, *instances, count=1, known=()):
    """The places of strays, once those that are not this deployment's are refused."""
    aws, unnamed = Aws(*instances), look(terraform, *instances, known=known)
    found = adoption.places(aws, unnamed, count=count)
    adoption.refuse_others(aws, unnamed, found, project="a-project")
    return found


def test_where_all_machines_are_known_the_state_is_not_even_read():
    terraform = FakeTerraform(machines=["i-1"])
    assert find(terraform, instance("i-1"), known=["i-1"]) == {}
    assert find(terraform) == {}
    assert terraform.asked == 0


def test_one_that_only_the_outputs_lack_is_no_stray():
    assert find(FakeTerraform(machines=["i-1"]), instance("i-1")) == {}


def test_strays_get_the_places_that_are_free():
    terraform = FakeTerraform(machines=["i-1"])
    found = find(terraform, instance("i-1"), instance("i-2"), instance("i-3"), count=3, known=["i-1"])
    assert found == {"aws_instance.machine[1]": "i-2", "aws_instance.machine[2]": "i-3"}
    adoption.take(terraform, adoption.Unnamed(state=terraform.held), found)
    assert terraform.taken == [("aws_instance.machine[1]", "i-2"), ("aws_instance.machine[2]", "i-3")]
    assert terraform.forgotten == []


def test_one_from_another_template_is_somebody_elses():
    with pytest.raises(InputError, match="i-2 runs with this project's tags") as refused:
        find(FakeTerraform(), instance("i-2", "lt-9"))
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in refused.value.do


def test_more_of_them_than_there_is_room_for_are_not_forgotten():
    with pytest.raises(InputError, match="i-3 runs with this project's tags"):
        find(FakeTerraform(machines=["i-1"]), *map(instance, ("i-1", "i-2", "i-3")), count=2, known=["i-1"])


def test_what_still_runs_after_all_is_removed_is_told(capsys):
    adoption.warn_of(["i-2"], "a-project", REGION)
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in capsys.readouterr().err
    adoption.warn_of([], "a-project", REGION)
    assert capsys.readouterr().err == ""


def test_strays_are_told_from_strangers_and_from_those_that_the_state_has():
    unnamed = look(
        FakeTerraform(machines=["i-1", "i-4"]),
        *(instance("i-1"), instance("i-2"), instance("i-3", "lt-9"), instance("i-4")),
        known=["i-1"],
    )
    assert [one.instance_id for one in unnamed.held] == ["i-4"]
    assert [one.instance_id for one in unnamed.ours] == ["i-2"]
    assert [one.instance_id for one in unnamed.strangers] == ["i-3"]
    assert list(unnamed.places_held.values()) == ["i-1", "i-4"]


def test_a_stray_takes_the_place_of_a_machine_that_is_gone():
    """As after the end of a block, and a deploy on the next one that was killed."""
    terraform = FakeTerraform(machines=["i-gone"])
    found = find(terraform, instance("i-2"), known=["i-gone"])
    assert found == {"aws_instance.machine[0]": "i-2"}
    adoption.take(terraform, look(terraform, instance("i-2")), found)
    assert terraform.forgotten == ["aws_instance.machine[0]"]
    assert terraform.taken == [("aws_instance.machine[0]", "i-2")]
