"""The synthesized stack, whole against golden files and point by point where it matters why.

After a change that is meant, write the golden files anew and read their diff:

    UPDATE_GOLDEN=1 python -m pytest tests/unit/test_stack.py
"""

from __future__ import annotations

import json
import os

import pytest

from tests.unit.stack_support import GOLDEN, ON_BLOCK, ON_DEMAND, VARIANTS, synthesized


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """Every variant, synthesized once."""
    return {name: synthesized(deployment, tmp_path_factory.mktemp(name)) for name, deployment in VARIANTS.items()}


def the_only(blocks):
    (one,) = blocks.values()
    return one


@pytest.mark.parametrize("name", VARIANTS)
def test_stack_is_the_golden_one(stacks, name):
    path = GOLDEN / f"{name}.json"
    text = json.dumps(stacks[name], indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert json.loads(path.read_text()) == stacks[name]


def test_every_golden_file_has_its_variant():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(VARIANTS)


@pytest.mark.parametrize("name", [name for name, wanted in VARIANTS.items() if wanted.use_capacity_block])
def test_block_launch_has_market_and_target(stacks, name):
    template = the_only(stacks[name]["resource"]["aws_launch_template"])
    assert template["instance_market_options"] == {"market_type": "capacity-block"}
    specification = template["capacity_reservation_specification"]
    assert specification["capacity_reservation_target"]["capacity_reservation_id"]
    assert "capacity_reservation_preference" not in specification


@pytest.mark.parametrize("name", [name for name, wanted in VARIANTS.items() if not wanted.use_capacity_block])
def test_other_launch_has_neither(stacks, name):
    template = the_only(stacks[name]["resource"]["aws_launch_template"])
    assert "instance_market_options" not in template
    assert "capacity_reservation_specification" not in template


def test_ids_that_are_given_are_not_looked_up(stacks):
    assert list(stacks["block-by-ids"]["data"]["aws_ssm_parameter"]) == ["ami"]
    looked_up = stacks["block-from-parameter-store"]["data"]["aws_ssm_parameter"]
    assert {parameter["name"] for parameter in looked_up.values()} == {
        ON_BLOCK.ami_parameter,
        "/capacity-block/sa-east-1/reservation-id",
        "/capacity-block/sa-east-1/subnet-id",
        "/capacity-block/sa-east-1/availability-zone",
        "/capacity-block/sa-east-1/instance-type",
    }


def test_terraform_itself_refuses_a_place_that_has_no_capacity(stacks):
    def conditions(name):
        instance = the_only(stacks[name]["resource"]["aws_instance"])
        return [precondition["condition"] for precondition in instance["lifecycle"]["precondition"]]

    assert conditions("block-from-parameter-store") == [
        "${(data.aws_subnet.machine.availability_zone == data.aws_ssm_parameter.block_zone.insecure_value)}",
        '${(data.aws_ssm_parameter.block_type.insecure_value == "trn2.3xlarge")}',
    ]
    assert conditions("block-by-id-in-the-saved-subnet") == [
        '${(data.aws_ssm_parameter.saved_block.insecure_value == "cr-0123456789abcdef0")}'
    ]


def test_data_volumes_are_one_a_machine_and_outlive_it(stacks):
    resources = stacks["data-volumes-on-demand"]["resource"]
    volume, attachment = the_only(resources["aws_ebs_volume"]), the_only(resources["aws_volume_attachment"])
    assert volume["count"] == attachment["count"] == the_only(resources["aws_instance"])["count"] == 2
    assert volume["encrypted"] is True
    # Nothing that goes with a machine is what the volume depends on.
    assert "aws_instance" not in json.dumps(volume)
    assert attachment["skip_destroy"] is True


def test_what_a_change_of_would_replace_a_machine_is_remembered(stacks):
    assert stacks["block-from-parameter-store"]["output"]["choices"]["value"] == {
        "instanceType": "trn2.3xlarge",
        "volumeSize": 500,
        "dataVolumeSize": 0,
        "count": 1,
        "useCapacityBlock": True,
        "capacityReservationId": "${data.aws_ssm_parameter.reservation_id.insecure_value}",
        "subnetId": "${data.aws_subnet.machine.id}",
    }
    assert stacks["allowed-ips"]["output"]["choices"]["value"]["allowedIps"] == list(
        VARIANTS["allowed-ips"].allowed_ips
    )


def test_security_group_is_closed_unless_addresses_are_named(stacks):
    for name, deployment in VARIANTS.items():
        group = the_only(stacks[name]["resource"]["aws_security_group"])
        assert bool(group["ingress"]) == bool(deployment.allowed_ips), name


def test_addresses_open_nginx_only(stacks):
    (rule,) = the_only(stacks["allowed-ips"]["resource"]["aws_security_group"])["ingress"]
    assert (rule["protocol"], rule["from_port"], rule["to_port"]) == ("tcp", 8443, 8443)
    assert rule["cidr_blocks"] == ["203.0.113.7/32", "198.51.100.0/24"]
    assert rule["ipv6_cidr_blocks"] == ["2001:db8::/64"]


def test_with_https_they_open_its_port_as_well(stacks):
    rules = the_only(stacks["https"]["resource"]["aws_security_group"])["ingress"]
    assert [(rule["from_port"], rule["to_port"], rule["cidr_blocks"]) for rule in rules] == [
        (80, 80, ["203.0.113.7/32"]),
        (443, 443, ["203.0.113.7/32"]),
    ]
    assert stacks["https-closed"] == stacks["on-demand"]


def test_newer_ami_is_the_only_change_ignored(stacks):
    instance = the_only(stacks["on-demand"]["resource"]["aws_instance"])
    assert instance["lifecycle"] == {"ignore_changes": ["ami"]}
    refreshed = the_only(stacks["data-volumes-on-demand"]["resource"]["aws_instance"])
    assert "ignore_changes" not in refreshed.get("lifecycle", {})
    template = the_only(stacks["on-demand"]["resource"]["aws_launch_template"])
    assert "image_id" not in template
    assert "lifecycle" not in template


@pytest.mark.attack("use the machine's role to read parameters, documents, or another secret")
def test_the_role_may_be_managed_and_read_its_secret_and_nothing_else(stacks):
    resources = stacks["on-demand"]["resource"]
    agent, secret = json.loads(the_only(resources["aws_iam_role_policy"])["policy"])["Statement"]
    assert {action.partition(":")[0] for action in agent["Action"]} == {"ssm", "ssmmessages", "ec2messages"}
    assert [action for action in agent["Action"] if action.startswith("ssm:")] == ["ssm:UpdateInstanceInformation"]
    assert not any("*" in action for action in agent["Action"])
    assert secret == {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "${aws_secretsmanager_secret.code_server.arn}",
    }
    assert [kind for kind in resources if kind.startswith("aws_iam")] == [
        "aws_iam_instance_profile",
        "aws_iam_role",
        "aws_iam_role_policy",
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_password_is_only_ever_a_reference(stacks, name):
    """Nothing but the write-only argument takes it, and nothing reads it back."""
    stack = stacks[name]
    (made,) = stack["ephemeral"]["aws_secretsmanager_random_password"]
    reference = f"${{ephemeral.aws_secretsmanager_random_password.{made}.random_password}}"
    version = the_only(stack["resource"]["aws_secretsmanager_secret_version"])
    assert version["secret_string_wo"] == reference
    assert "secret_string" not in version
    assert json.dumps(stack).count("random_password}") == 1
    assert "aws_secretsmanager_secret_version" not in stack["data"]


def test_state_bucket_is_left_open_until_there_is_one(stacks):
    partial = stacks["not-bootstrapped"]["terraform"]["backend"]["s3"]
    assert "bucket" not in partial
    assert partial["use_lockfile"] is True
    whole = stacks["on-demand"]["terraform"]["backend"]["s3"]
    assert whole == {**partial, "bucket": ON_DEMAND.backend.bucket}


def test_outputs(stacks):
    assert set(stacks["on-demand"]["output"]) == {
        "instance_id",
        "instance_ids",
        "public_dns",
        "public_dns_names",
        "data_volume_ids",
        "allowed_ips",
        "choices",
        "security_group_id",
        "secret_arn",
        "region",
    }
