"""Which machines that no state knows are taken over, and which are not."""

import pytest

from torchneuron import adoption
from torchneuron.errors import InputError

REGION = "sa-east-1"
TEMPLATE = "lt-1"


class Ec2:
    """Instances with the project's tags, as `describe_instances` lists them."""

    def __init__(self, *instances):
        self.instances = instances

    def get_paginator(self, operation):
        assert operation == "describe_instances"
        return self

    def paginate(self, Filters):  # noqa: N803 - boto3's own
        assert {"Name": "tag:Project", "Values": ["a-project"]} in Filters
        return [{"Reservations": [{"Instances": list(self.instances)}]}]


class Aws:
    region = REGION

    def __init__(self, *instances):
        self._ec2 = Ec2(*instances)

    def ec2(self):
        return self._ec2


class FakeTerraform:
    def __init__(self, **held):
        self.held = {
            f"aws_instance.machine[{index}]": {"id": one} for index, one in enumerate(held.get("machines", ()))
        }
        self.held["aws_launch_template.machine"] = {"id": TEMPLATE}
        self.asked, self.taken = 0, []

    def resources(self):
        self.asked += 1
        return self.held

    def adopt(self, address, identity):
        self.taken.append((address, identity))


def instance(instance_id, template=TEMPLATE):
    return {
        "InstanceId": instance_id,
        "InstanceType": "trn2.3xlarge",
        "State": {"Name": "running"},
        "Placement": {"AvailabilityZone": "sa-east-1b"},
        "Tags": [{"Key": "aws:ec2launchtemplate:id", "Value": template}],
    }


def find(terraform, *instances, count=1, known=()):
    return adoption.find(Aws(*instances), terraform, project="a-project", count=count, known=known)


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
    adoption.take(terraform, found)
    assert terraform.taken == [("aws_instance.machine[1]", "i-2"), ("aws_instance.machine[2]", "i-3")]


def test_one_from_another_template_is_somebody_elses():
    with pytest.raises(InputError, match="i-2 runs with this project's tags") as refused:
        find(FakeTerraform(), instance("i-2", "lt-9"))
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in refused.value.do


def test_more_of_them_than_there_is_room_for_are_not_forgotten():
    with pytest.raises(InputError, match="i-3 runs with this project's tags"):
        find(FakeTerraform(machines=["i-1"]), instance("i-2"), instance("i-3"), count=2, known=["i-1"])


def test_what_still_runs_after_all_is_removed_is_told(capsys):
    adoption.warn_of(["i-2"], "a-project", REGION)
    assert "terminate-instances --region sa-east-1 --instance-ids i-2" in capsys.readouterr().err
    adoption.warn_of([], "a-project", REGION)
    assert capsys.readouterr().err == ""


def test_strays_are_told_from_strangers():
    ours, strangers = adoption.strays(
        Aws(instance("i-1"), instance("i-2"), instance("i-3", "lt-9")),
        FakeTerraform(machines=["i-1"]),
        project="a-project",
        known=["i-1"],
    )
    assert [one.instance_id for one in ours] == ["i-2"]
    assert [one.instance_id for one in strangers] == ["i-3"]
