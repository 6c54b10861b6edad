"""Fixtures for tests that run commands: instances that are Online, documents. `conftest` makes them known."""

import functools
import json
from typing import Any

import pytest

from tests.functional.rehearsal_support import PERMITTING, make_profile, online
from tests.functional.support import AMI_PARAMETER, eventually


@pytest.fixture
def profile(client):
    """Makes an instance profile whose role has the policies."""
    return functools.partial(make_profile, client("iam"))


@pytest.fixture
def launch(ec2, ssm, profile):
    """Launches instances, with a role that lets them register unless told otherwise, and returns their ids."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def go(count=1, *, role=None, tags=None):
        name = profile("permitted", PERMITTING) if role is None else role
        more: dict[str, Any] = {"IamInstanceProfile": {"Name": name}} if name else {}
        if tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            more["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
        made = ec2.run_instances(ImageId=image, InstanceType="inf2.xlarge", MinCount=count, MaxCount=count, **more)
        return [one["InstanceId"] for one in made["Instances"]]

    return go


@pytest.fixture
def instance(ssm, launch):
    (instance_id,) = launch()
    eventually(lambda: online(ssm) == {instance_id})
    return instance_id


@pytest.fixture
def document(ssm):
    """Makes a document of steps, each given as (name, lines) or (name, lines, further inputs)."""

    def make(*steps, parameters=None, name="Test-Document"):
        content = {
            "schemaVersion": "2.2",
            "parameters": parameters or {},
            "mainSteps": [
                {
                    "action": "aws:runShellScript",
                    "name": step,
                    "inputs": {"runCommand": lines, **(more[0] if more else {})},
                }
                for step, lines, *more in steps
            ],
        }
        ssm.create_document(Name=name, DocumentType="Command", Content=json.dumps(content))
        return name

    return make
