"""How cb.purchase reads its options."""

import dataclasses
from datetime import datetime, timezone

import pytest

from tests.unit.capacity_fakes import REGION
from tests.unit.offerings_support import block
from torchneuron.capacity_blocks import shown
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core import config
from torchneuron.core.errors import InputError

START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)


@pytest.fixture
def settings(state_dir):
    return dataclasses.replace(config.load(), state_dir=state_dir)


def test_unknown_offering_is_searched_by_the_defaults(settings):
    assert PurchaseRequest.from_options(settings, "", "cb-1").search == SearchRequest("trn2.3xlarge", 24, 1, REGION)
    assert PurchaseRequest.from_options(settings, "us-east-2", "cb-1").search.region == "us-east-2"


def test_start_time_narrows_the_search(settings):
    search = PurchaseRequest.from_options(
        settings, REGION, "cb-1", start_time=START, instance_type="trn1.32xlarge", count=4
    ).search
    assert search == SearchRequest("trn1.32xlarge", 24, 4, REGION, start_after=START, start_before=START)


def test_missing_offering_id_is_refused(settings):
    with pytest.raises(InputError, match="Missing option: --offering-id"):
        PurchaseRequest.from_options(settings, REGION, "")


def test_shown_offering_is_searched_as_before(settings):
    offering = block()
    shown.remember(settings.state_dir, [offering], START)
    request = PurchaseRequest.from_options(settings, REGION, offering.id, start_time=offering.start)
    assert request.search == offering.search
    assert request.shown == offering
    assert PurchaseRequest.from_options(settings, REGION, offering.id, duration_hours=48).search.duration_hours == 48


def in_region(offering, region):
    return dataclasses.replace(offering, search=dataclasses.replace(offering.search, region=region))


def test_shown_offering_is_bought_in_its_region_only(settings):
    offering = in_region(block(), "us-east-2")
    shown.remember(settings.state_dir, [offering], START)
    assert PurchaseRequest.from_options(settings, "", offering.id).search.region == "us-east-2"
    assert PurchaseRequest.from_options(settings, "us-east-2", offering.id).shown == offering
    with pytest.raises(InputError, match="not in sa-east-1") as refused:
        PurchaseRequest.from_options(settings, REGION, offering.id)
    assert "-r us-east-2" in refused.value.do
