"""The AWS CLI, a client nobody here wrote, reads from the rehearsal what our commands made, as users would."""

import shlex

import pytest

from tests.functional.aws_cli import AwsCli
from torchneuron.capacity_blocks import intent, reservations

REGION = "sa-east-1"


@pytest.fixture
def cli(rehearsal_endpoint):
    return AwsCli({}, REGION)


def test_the_reservation_that_was_bought(cli, bought):
    (one,) = cli(f"ec2 describe-capacity-reservations --capacity-reservation-ids {bought}")["CapacityReservations"]
    assert (one["State"], one["ReservationType"], one["InstanceType"]) == (
        "scheduled",
        "capacity-block",
        "trn2.3xlarge",
    )
    assert (one["TotalInstanceCount"], one["AvailableInstanceCount"]) == (1, 0)
    tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
    assert tags["torchneuron:upfront-fee"] == "53.64 USD"
    assert tags["ManagedBy"] == "torchneuron"


def test_the_block_and_its_health(cli, bought):
    (block,) = cli("ec2 describe-capacity-blocks")["CapacityBlocks"]
    assert block["CapacityReservationIds"] == [bought]
    (status,) = cli(f"ec2 describe-capacity-block-status --capacity-block-ids {block['CapacityBlockId']}")[
        "CapacityBlockStatuses"
    ]
    assert status["InterconnectStatus"] == "ok"


def test_the_parameters_that_deploy_reads(cli, bought):
    saved = cli(f"ssm get-parameter --name /capacity-block/{REGION}/reservation-id")
    assert saved["Parameter"]["Value"] == bought
    subnet = cli(f"ssm get-parameter --name /capacity-block/{REGION}/subnet-id")["Parameter"]["Value"]
    (one,) = cli(f"ec2 describe-subnets --subnet-ids {subnet}")["Subnets"]
    assert one["AvailabilityZone"] == "sa-east-1b"


def test_all_that_was_saved(cli, bought):
    found = cli(f"ssm get-parameters-by-path --path /capacity-block/{REGION} --recursive")["Parameters"]
    saved = {one["Name"].rsplit("/", 1)[1]: one["Value"] for one in found}
    assert saved.keys() == {"reservation-id", "subnet-id", "availability-zone", "instance-type", "start", "end"}
    assert (saved["instance-type"], saved["availability-zone"]) == ("trn2.3xlarge", "sa-east-1b")


def test_the_command_that_tells_what_was_bought(cli, bought, aws):
    (block,) = reservations.list_blocks(aws.ec2(), REGION)
    words = shlex.split(intent.command_that_tells(intent.intent_tagged(block), REGION))
    assert words[:3] == ["aws", "ec2", "describe-capacity-reservations"]
    query = words[words.index("--query") + 1]
    ((told, state, start, end),) = cli(shlex.join([*words[1:3], "--query", query]))
    assert (told, state) == (bought, "scheduled")
    assert start < end
    assert cli(shlex.join([*words[1:3], "--query", query.replace("trn2", "trn9")])) == []
