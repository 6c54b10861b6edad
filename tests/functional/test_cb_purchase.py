from datetime import datetime, timedelta, timezone

import pytest

from torchneuron.capacity_blocks import offerings, purchase, reservations, shown
from torchneuron.capacity_blocks.once import SETTLE_TIME
from torchneuron.capacity_blocks.options import PurchaseOptions
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import InputError, NotFoundError, PurchaseUnknownError

REGION = "sa-east-1"
REQUEST = SearchRequest("trn2.3xlarge", 48, 1, REGION)


def request_for(config, offering_id, **options):
    return PurchaseRequest.from_options(config, PurchaseOptions(offering_id=offering_id, region=REGION, **options))


@pytest.fixture
def buy(pass_time):
    """Buys after approval; time spent sleeping passes in the rehearsal."""

    def buy(aws, wanted, at=None):
        return purchase.purchase(
            aws.ec2(),
            aws.ec2_once(),
            wanted,
            approve=lambda _: True,
            sleep=pass_time,
            now=lambda: at or datetime.now(timezone.utc),
        )

    return buy


@pytest.fixture
def first(aws, config):
    """The cheapest block on sale, shown by a search."""
    found = offerings.search(aws.ec2(), REQUEST)
    shown.remember(config.state_dir, found, datetime.now(timezone.utc))
    return found[0]


def test_shown_offering_is_bought_by_its_id_alone(buy, aws, config, first):
    wanted = request_for(config, first.id, start_time=first.start)
    reservation = buy(aws, wanted)
    assert reservation.state == "scheduled"
    assert (reservation.start, reservation.end) == (first.start, first.end)
    assert (reservation.count, reservation.available) == (1, 0)
    assert reservation.tags["torchneuron:upfront-fee"] == f"{first.fee} USD"
    assert [block.id for block in reservations.list_blocks(aws.ec2(), REGION)] == [reservation.id]


def test_id_from_elsewhere_needs_its_duration(buy, aws, config):
    block = offerings.search(aws.ec2(), REQUEST)[0]
    with pytest.raises(NotFoundError, match="not on sale") as missing:
        buy(aws, request_for(config, block.id))
    assert "--duration" in missing.value.do
    assert buy(aws, request_for(config, block.id, duration=48)).start == block.start


def test_same_command_twice_buys_once(buy, aws, config, first):
    wanted = request_for(config, first.id)
    assert buy(aws, wanted).id == buy(aws, wanted).id
    assert len(reservations.list_blocks(aws.ec2(), REGION)) == 1


def test_other_start_time_buys_nothing(buy, aws, config, first):
    later = first.start + timedelta(days=1)
    with pytest.raises(InputError, match="does not start at"):
        buy(aws, request_for(config, first.id, start_time=later))
    assert reservations.list_blocks(aws.ec2(), REGION) == []


@pytest.mark.parametrize("kind", ["lost-after", "server-error-after", "bad-gateway-after"])
def test_purchase_is_not_repeated_when_the_response_is_lost(buy, aws, config, first, fail, kind):
    fail("PurchaseCapacityBlock", kind)
    reservation = buy(aws, request_for(config, first.id))
    assert reservation.state == "scheduled"
    # The fault applies once: a repeated request would have bought a second block.
    assert len(reservations.list_blocks(aws.ec2(), REGION)) == 1


def test_unknown_purchase_is_sent_again_only_after_the_settle_time(buy, aws, config, first, fail):
    wanted = request_for(config, first.id)
    fail("PurchaseCapacityBlock", "lost-before")
    with pytest.raises(PurchaseUnknownError, match="It is not known whether"):
        buy(aws, wanted)
    with pytest.raises(PurchaseUnknownError, match="still not known"):
        buy(aws, wanted)
    assert reservations.list_blocks(aws.ec2(), REGION) == []
    buy(aws, wanted, at=datetime.now(timezone.utc) + SETTLE_TIME)
    assert len(reservations.list_blocks(aws.ec2(), REGION)) == 1
