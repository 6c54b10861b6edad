"""Terraform and its AWS provider with handwritten configurations: data sources and resources.

The tests share one apply and run in order; the last one destroys it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox
from tests.e2e.conftest import REGION, client
from tests.sandboxes import open_sandbox

CONFIGURATIONS = Path(__file__).with_name("terraform")
AMI_PARAMETER = "/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id"


@dataclass(frozen=True)
class Configuration:
    """A copy of a configuration folder with its own local state."""

    folder: Path
    environment: Mapping[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["terraform", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        running = self.start(*arguments)
        output, _ = running.communicate(timeout=300)
        assert running.returncode == status, output
        return output


@dataclass(frozen=True)
class Applied:
    """`lookups` is applied on a block that `invoke cb.purchase` bought; the apply of `purchase` is running."""

    sandbox: Sandbox
    lookups: Configuration
    purchase: Configuration
    purchasing: subprocess.Popen[str]
    offering: Mapping[str, Any]
    found: Mapping[str, Any]

    def reservations(self) -> dict[str, dict[str, Any]]:
        found = client(self.sandbox, "ec2").describe_capacity_reservations()["CapacityReservations"]
        return {reservation["CapacityReservationId"]: reservation for reservation in found}


def _configuration(sandbox: Sandbox, name: str, **variables: str) -> Configuration:
    folder = sandbox.folder / f"terraform-{name}"
    shutil.copytree(CONFIGURATIONS / name, folder)
    inputs = {f"TF_VAR_{key}": value for key, value in variables.items()}
    configuration = Configuration(folder, {**sandbox.environment, **inputs})
    configuration.run("init", "-input=false", "-no-color")
    return configuration


@pytest.fixture(scope="module")
def applied() -> Iterator[Applied]:
    with open_sandbox(region=REGION, host_suite="none") as sandbox:
        main_job.prepare(Demo(sandbox, REGION))
        client(sandbox, "secretsmanager").create_secret(Name="code-server", SecretString='a "b" c')
        search = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
        offerings = client(sandbox, "ec2").describe_capacity_block_offerings(**search)["CapacityBlockOfferings"]
        expected, other = offerings[-1], offerings[0]
        window = {"start": f"{expected['StartDate']:%FT00:00:00Z}", "end": f"{expected['EndDate']:%FT23:59:59Z}"}
        lookups = _configuration(sandbox, "lookups", window=json.dumps(window))
        purchase = _configuration(sandbox, "purchase", offering=other["CapacityBlockOfferingId"])
        apply = ("apply", "-auto-approve", "-input=false", "-no-color")
        purchasing = purchase.start(*apply)
        try:
            lookups.run(*apply)
            found = json.loads(lookups.run("output", "-json"))["found"]["value"]
            yield Applied(sandbox, lookups, purchase, purchasing, expected, found)
        finally:
            purchasing.terminate()
            purchasing.communicate()


def test_data_sources_return_the_account_and_offerings(applied):
    found, ec2, ssm = applied.found, client(applied.sandbox, "ec2"), client(applied.sandbox, "ssm")
    assert (found["account"], found["region"]) == ("123456789012", REGION)
    assert found["zones"] == ["sa-east-1a", "sa-east-1b", "sa-east-1c"]
    assert (found["offered"], found["vcpus"]) == (["sa-east-1b"], 12)
    attributes = ("availability_zone", "capacity_block_offering_id", "upfront_fee", "currency_code", "tenancy")
    fields = ("AvailabilityZone", "CapacityBlockOfferingId", "UpfrontFee", "CurrencyCode", "Tenancy")
    assert [found["offering"][name] for name in attributes] == [applied.offering[name] for name in fields]
    zone = {"Name": "availability-zone", "Values": ["sa-east-1b"]}
    (subnet,) = ec2.describe_subnets(Filters=[zone])["Subnets"]
    assert found["subnet"] == {"id": subnet["SubnetId"], "zone": "sa-east-1b"}
    assert found["vpc"] == {"default": subnet["VpcId"], "subnet": subnet["VpcId"]}
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    assert (found["image"]["parameter"], found["image"]["id"]) == (image, image)
    assert found["image"]["name"].startswith("Deep Learning AMI Neuron (Ubuntu 24.04)")
    saved = ssm.get_parameter(Name=f"/capacity-block/{REGION}/reservation-id")["Parameter"]["Value"]
    assert found["saved"] == saved
    assert found["secret"] == 'a "b" c'


def test_created_resources_are_read_back(applied):
    found, ec2, saved = applied.found, client(applied.sandbox, "ec2"), applied.found["saved"]
    (market,) = found["template"]["instance_market_options"]
    (specification,) = found["template"]["capacity_reservation_specification"]
    (target,) = specification["capacity_reservation_target"]
    assert (market["market_type"], target["capacity_reservation_id"]) == ("capacity-block", saved)
    instance = found["instance"]
    assert (instance["instance_state"], instance["instance_type"]) == ("running", "trn2.3xlarge")
    assert (instance["availability_zone"], instance["subnet_id"]) == ("sa-east-1b", found["subnet"]["id"])
    assert instance["tags"] == {"Name": "by-hand"}
    assert found["instances"] == [instance["id"]]
    ((described,),) = (
        group["Instances"] for group in ec2.describe_instances(InstanceIds=[instance["id"]])["Reservations"]
    )
    assert (described["InstanceLifecycle"], described["CapacityReservationId"]) == ("capacity-block", saved)
    reservations = applied.reservations()
    assert reservations[saved]["AvailableInstanceCount"] == 0
    on_demand, made = found["on_demand"], reservations[found["on_demand"]["id"]]
    assert (on_demand["end_date_type"], on_demand["instance_count"], on_demand["tags"]) == (
        "unlimited",
        1,
        {"Name": "team"},
    )
    assert (made["State"], made["ReservationType"], made["AvailableInstanceCount"]) == ("active", "default", 1)
    saved_id = client(applied.sandbox, "ssm").get_parameter(Name="/team/instance")["Parameter"]["Value"]
    assert saved_id == instance["id"]


def test_a_second_plan_finds_nothing_to_change(applied):
    output = applied.lookups.run("plan", "-detailed-exitcode", "-input=false", "-no-color", status=0)
    assert "No changes. Your infrastructure matches the configuration." in output


def test_purchase_by_terraform_fails_after_it_has_bought(applied):
    """As on AWS (hashicorp/terraform-provider-aws 46829): the money is spent, and the next apply would buy another."""
    output, _ = applied.purchasing.communicate(timeout=300)
    assert applied.purchasing.returncode == 1
    for unknown in ("arn", "created_date", "instance_count"):
        assert f"aws_ec2_capacity_block_reservation.bought.{unknown}." in " ".join(output.split())
    bought = [
        block for block in applied.reservations().values() if {"Key": "Name", "Value": "by-terraform"} in block["Tags"]
    ]
    assert [block["State"] for block in bought] == ["scheduled"]
    plan = applied.purchase.run("plan", "-detailed-exitcode", "-input=false", "-no-color", status=2)
    assert "aws_ec2_capacity_block_reservation.bought is tainted, so must be replaced" in plan
    assert "Plan: 1 to add, 0 to change, 1 to destroy." in plan


def test_destroy_deletes_all_but_the_block(applied):
    applied.lookups.run("destroy", "-auto-approve", "-input=false", "-no-color")
    ec2, saved = client(applied.sandbox, "ec2"), applied.found["saved"]
    (group,) = ec2.describe_instances(InstanceIds=[applied.found["instance"]["id"]])["Reservations"]
    assert group["Instances"][0]["State"]["Name"] == "terminated"
    reservations = applied.reservations()
    assert reservations[applied.found["on_demand"]["id"]]["State"] == "cancelled"
    assert (reservations[saved]["State"], reservations[saved]["AvailableInstanceCount"]) == ("active", 1)
    named = {"Name": "launch-template-name", "Values": ["on-block"]}
    assert ec2.describe_launch_templates(Filters=[named])["LaunchTemplates"] == []
    assert client(applied.sandbox, "ssm").get_parameters(Names=["/team/instance"])["Parameters"] == []
