"""The AWS CLI reads from the rehearsal what this project's commands created."""

import shlex

import pytest

from tests.functional.aws_cli import AwsCli
from torchneuron.capacity_blocks import purchase, reservations

REGION = "sa-east-1"


@pytest.fixture
def cli(rehearsal_endpoint):
    return AwsCli({}, REGION)


def test_the_purchased_reservation(cli, bought):
    line = f"ec2 describe-capacity-reservations --capacity-reservation-ids {bought}"
    (reservation,) = cli(line)["CapacityReservations"]
    assert (reservation["State"], reservation["ReservationType"]) == ("scheduled", "capacity-block")
    assert reservation["InstanceType"] == "trn2.3xlarge"
    assert (reservation["TotalInstanceCount"], reservation["AvailableInstanceCount"]) == (1, 0)
    tags = {tag["Key"]: tag["Value"] for tag in reservation["Tags"]}
    assert tags["torchneuron:upfront-fee"] == "53.64 USD"
    assert tags["ManagedBy"] == "torchneuron"


def test_the_block_and_its_status(cli, bought):
    (block,) = cli("ec2 describe-capacity-blocks")["CapacityBlocks"]
    assert block["CapacityReservationIds"] == [bought]
    (status,) = cli(f"ec2 describe-capacity-block-status --capacity-block-ids {block['CapacityBlockId']}")[
        "CapacityBlockStatuses"
    ]
    assert status["InterconnectStatus"] == "ok"


def test_the_parameters_that_deploy_reads(cli, bought):
    saved = cli(f"ssm get-parameter --name /capacity-block/{REGION}/reservation-id")
    assert saved["Parameter"]["Value"] == bought
    subnet_id = cli(f"ssm get-parameter --name /capacity-block/{REGION}/subnet-id")["Parameter"]["Value"]
    (subnet,) = cli(f"ec2 describe-subnets --subnet-ids {subnet_id}")["Subnets"]
    assert subnet["AvailabilityZone"] == "sa-east-1b"


def test_all_saved_parameters(cli, bought):
    found = cli(f"ssm get-parameters-by-path --path /capacity-block/{REGION} --recursive")["Parameters"]
    saved = {parameter["Name"].rsplit("/", 1)[1]: parameter["Value"] for parameter in found}
    assert saved.keys() == {"reservation-id", "subnet-id", "availability-zone", "instance-type", "start", "end"}
    assert (saved["instance-type"], saved["availability-zone"]) == ("trn2.3xlarge", "sa-east-1b")


def test_the_command_that_finds_an_uncertain_purchase(cli, bought, aws):
    (block,) = reservations.list_blocks(aws.ec2(), REGION)
    words = shlex.split(purchase.lookup_command(purchase.intent_tagged(block), REGION))
    assert words[:3] == ["aws", "ec2", "describe-capacity-reservations"]
    query = words[words.index("--query") + 1]
    ((reservation_id, state, start, end),) = cli(shlex.join([*words[1:3], "--query", query]))
    assert (reservation_id, state) == (bought, "scheduled")
    assert start < end
    assert cli(shlex.join([*words[1:3], "--query", query.replace("trn2", "trn9")])) == []
