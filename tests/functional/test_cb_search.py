from datetime import timedelta
from decimal import Decimal

import pytest

from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.offerings import SearchRequest
from torchneuron.errors import InputError

REGION = "sa-east-1"


def test_blocks_on_sale_are_found_cheapest_first(aws):
    found = offerings.search(aws.ec2(), SearchRequest("trn2.3xlarge", 24, 1, REGION))
    assert found[0].zone == "sa-east-1b"
    assert found[0].fee == Decimal("53.64")
    assert found[0].usable == timedelta(hours=23, minutes=30)
    assert found == sorted(found, key=lambda one: (one.price_per_usable_hour, one.start))


def test_an_offering_is_found_again_by_its_id(aws):
    request = SearchRequest("trn2.3xlarge", 48, 2, REGION)
    last = offerings.search(aws.ec2(), request)[-1]
    assert offerings.find(aws.ec2(), last.id, request) == last


@pytest.mark.parametrize("instance_type", ["inf2.xlarge", "trn1.32xlarge"])
def test_a_type_that_is_not_sold_in_the_region_is_bad_input(aws, instance_type):
    with pytest.raises(InputError, match=f"does not sell {instance_type}"):
        offerings.search(aws.ec2(), SearchRequest(instance_type, 24, 1, REGION))


def test_a_count_nobody_has_finds_nothing(aws):
    assert offerings.search(aws.ec2(), SearchRequest("trn2.3xlarge", 24, 64, REGION)) == []
