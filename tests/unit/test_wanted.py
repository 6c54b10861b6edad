"""What cb.purchase takes its options to mean."""

import dataclasses
from datetime import datetime, timezone

import pytest

from tests.unit.capacity_fakes import REGION
from tests.unit.offerings_support import block, of_ultraservers
from torchneuron.capacity_blocks import shown
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.capacity_blocks.wanted import want
from torchneuron.core import config
from torchneuron.core.errors import InputError

START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)


@pytest.fixture
def settings(state_dir):
    return dataclasses.replace(config.load(), state_dir=state_dir)


def test_an_offering_never_shown_here_is_searched_for_by_the_defaults(settings):
    assert want(settings, "", "cb-1").search == SearchRequest("trn2.3xlarge", 24, 1, REGION)
    assert want(settings, "us-east-2", "cb-1").search.region == "us-east-2"


def test_its_start_narrows_the_search(settings):
    search = want(settings, REGION, "cb-1", start_time=START, instance_type="trn1.32xlarge", count=4).search
    assert search == SearchRequest("trn1.32xlarge", 24, 4, REGION, start_after=START, start_before=START)


def test_an_ultraserver_has_no_instance_type(settings):
    search = want(settings, "us-east-2", "cb-1", ultraserver_type="u-trn2x64").search
    assert (search.ultraserver_type, search.instance_type) == ("u-trn2x64", "")


def test_both_kinds_of_type_are_one_too_many(settings):
    with pytest.raises(InputError, match="both given"):
        want(settings, REGION, "cb-1", ultraserver_type="u-trn2x64", instance_type="trn2.48xlarge")


def test_an_id_is_needed(settings):
    with pytest.raises(InputError, match="--offering-id is missing"):
        want(settings, REGION, "")


def test_what_was_shown_is_searched_for_again_as_it_was(settings):
    offering = block()
    shown.remember(settings.state_dir, [offering], START)
    wanted = want(settings, REGION, offering.id, start_time=offering.start)
    assert wanted.search == offering.search
    assert wanted.shown == offering
    assert want(settings, REGION, offering.id, duration_hours=48).search.duration_hours == 48


def test_what_was_shown_is_bought_in_its_region_and_in_no_other(settings):
    offering = of_ultraservers()
    shown.remember(settings.state_dir, [offering], START)
    assert want(settings, "", offering.id).search.region == "us-east-2"
    assert want(settings, "us-east-2", offering.id).shown == offering
    with pytest.raises(InputError, match="not in sa-east-1") as refused:
        want(settings, REGION, offering.id)
    assert "-r us-east-2" in refused.value.do
