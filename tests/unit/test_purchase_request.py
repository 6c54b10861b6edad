"""How cb.purchase reads its options."""

import dataclasses
from datetime import datetime, timezone

import pytest

from tests.unit.capacity_fakes import REGION
from tests.unit.offerings_support import block
from torchneuron.capacity_blocks import shown
from torchneuron.capacity_blocks.options import PurchaseOptions
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core import config
from torchneuron.core.errors import InputError

START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)
UNSHOWN = "cb-0fedcba9876543210"


@pytest.fixture
def settings(state_dir):
    return dataclasses.replace(config.load(), state_dir=state_dir)


def request_for(settings, offering_id=UNSHOWN, region=REGION, **options):
    return PurchaseRequest.from_options(settings, PurchaseOptions(offering_id=offering_id, region=region, **options))


def test_unknown_offering_is_searched_by_the_defaults(settings):
    assert request_for(settings, region="").search == SearchRequest("trn2.3xlarge", 24, 1, REGION)
    assert request_for(settings, region="us-east-2").search.region == "us-east-2"


def test_start_time_narrows_the_search(settings):
    search = request_for(settings, start_time=START, type="trn1.32xlarge", count=4).search
    assert search == SearchRequest("trn1.32xlarge", 24, 4, REGION, start_after=START, start_before=START)


def test_missing_or_malformed_offering_id_is_refused(settings):
    with pytest.raises(InputError, match="Missing option: --offering-id"):
        request_for(settings, "")
    with pytest.raises(InputError, match="not an id for --offering-id"):
        request_for(settings, "cr-0123456789abcdef0")


def test_shown_offering_is_searched_as_before(settings):
    offering = block()
    shown.remember(settings.state_dir, [offering], START)
    request = request_for(settings, offering.id, start_time=offering.start)
    assert request.search == offering.search
    assert request.shown == offering
    assert request_for(settings, offering.id, duration=48).search.duration_hours == 48


def in_region(offering, region):
    return dataclasses.replace(offering, search=dataclasses.replace(offering.search, region=region))


def test_shown_offering_is_bought_in_its_region_only(settings):
    offering = in_region(block(), "us-east-2")
    shown.remember(settings.state_dir, [offering], START)
    assert request_for(settings, offering.id, region="").search.region == "us-east-2"
    assert request_for(settings, offering.id, region="us-east-2").shown == offering
    with pytest.raises(InputError, match="not in sa-east-1") as refused:
        request_for(settings, offering.id)
    assert "-r us-east-2" in refused.value.do
