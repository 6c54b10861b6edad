"""Bought blocks through the library: from their start to their end, and in Parameter Store."""

from datetime import timedelta

import pytest

from torchneuron.capacity_blocks import offerings, purchase, reservations, saved_block
from torchneuron.capacity_blocks.options import PurchaseOptions
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import InputError, NotFoundError

REGION = "sa-east-1"


@pytest.fixture
def block(aws, config, pass_time):
    """A block that is bought and paid."""
    offering = offerings.search(aws.ec2(), SearchRequest("trn2.3xlarge", 24, 1, REGION))[0]
    return purchase.purchase(
        aws.ec2(),
        aws.ec2_once(),
        PurchaseRequest.from_options(config, PurchaseOptions(offering_id=offering.id, region=REGION)),
        approve=lambda _: True,
        sleep=pass_time,
    )


def test_block_goes_from_scheduled_to_expired(aws, block, move_clock):
    def look():
        return reservations.describe(aws.ec2(), REGION, block.id)

    assert look().outlook.startswith("starts in")
    move_clock(block.start)
    assert (look().state, look().available) == ("active", 1)
    assert look().outlook.startswith("instances are terminated in 23 h")
    move_clock(block.reclaimed + timedelta(minutes=1))
    assert look().outlook.startswith("instances are being terminated, ends in 2")
    move_clock(block.end)
    assert (look().state, look().outlook) == ("expired", "ended less than a minute ago")


def test_block_is_saved_with_a_subnet_in_its_zone_and_read_back(aws, block):
    saved = saved_block.save(aws.ec2(), aws.ssm(), REGION, block.id, project="p")
    subnet = aws.ec2().describe_subnets(SubnetIds=[saved.subnet_id])["Subnets"][0]
    assert subnet["AvailabilityZone"] == block.zone
    assert saved_block.load(aws.ssm(), REGION) == saved
    assert saved_block.save(aws.ec2(), aws.ssm(), REGION, block.id, project="p") == saved


def test_subnet_in_another_zone_is_refused_and_nothing_is_saved(aws, block):
    subnets = aws.ec2().describe_subnets()["Subnets"]
    elsewhere = next(subnet["SubnetId"] for subnet in subnets if subnet["AvailabilityZone"] != block.zone)
    with pytest.raises(InputError, match=f"{block.id} is in {block.zone}"):
        saved_block.save(aws.ec2(), aws.ssm(), REGION, block.id, elsewhere, project="p")
    with pytest.raises(NotFoundError, match="No Capacity Block is saved"):
        saved_block.load(aws.ssm(), REGION)


def test_unknown_subnet_is_reported(aws, block):
    with pytest.raises(NotFoundError, match="no subnet"):
        saved_block.save(aws.ec2(), aws.ssm(), REGION, block.id, "subnet-0123456789abcdef0", project="p")
