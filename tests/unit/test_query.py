import shlex
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torchneuron.capacity_blocks import query
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.rules import MOST_INSTANCES, SOLD_HOURS
from torchneuron.errors import InputError

NOW = datetime(2026, 1, 10, 9, 0, tzinfo=timezone.utc)


def read(**options):
    return query.read(default_type="trn2.3xlarge", default_region="sa-east-1", now=NOW, **options)


def test_what_is_not_given_is_the_settings():
    assert read() == Query(("sa-east-1",), ("trn2.3xlarge",), (24,))


def test_lists_are_read_in_order_each_part_once():
    types = "trn1.32xlarge, trn2.3xlarge,trn1.32xlarge"
    wanted = read(instance_type=types, duration="48,24,48", region="US-east-2,a-b-1")
    assert wanted.instance_types == ("trn1.32xlarge", "trn2.3xlarge")
    assert wanted.hours == (48, 24)
    assert wanted.regions == ("us-east-2", "a-b-1")
    searches = [(one.region, one.instance_type, one.duration_hours) for one in wanted.requests(wanted.regions)]
    assert searches[:3] == [
        ("us-east-2", "trn1.32xlarge", 48),
        ("us-east-2", "trn1.32xlarge", 24),
        ("us-east-2", "trn2.3xlarge", 48),
    ]
    assert len(searches) == 8


def test_all_is_every_region_there_is():
    assert read(region="all").regions == ()
    assert read(region="sa-east-1,ALL").regions == ()


def test_ultraservers_are_searched_for_without_instance_types():
    (search,) = read(ultraserver="u-trn2x64", count="2").requests(["us-east-2"])
    assert (search.instance_type, search.ultraserver_type, search.count) == ("", "u-trn2x64", 2)
    assert search.what == "u-trn2x64"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"duration": "30"}, "Nearest: 24 (1 day) or 48 (2 days)"),
        ({"duration": "24,400"}, "Nearest: 336 (14 days) or 504 (21 days)"),
        ({"duration": "5000"}, "Nearest: 4368 (182 days)"),
        ({"duration": "0"}, "Nearest: 24 (1 day)"),
        ({"duration": "1d"}, "'1d' is not a whole number"),
        ({"duration": "24,,48"}, "empty part"),
        ({"count": "0"}, "cannot have 0 instances"),
        ({"count": "65"}, "cannot have 65 instances"),
        ({"count": "65", "ultraserver": "u-trn2x64"}, "cannot have 65 UltraServers"),
        ({"count": "-1"}, "'-1' is not a whole number"),
        ({"max_price": "0"}, "is not a price"),
        ({"max_price": "cheap"}, "is not a price"),
        ({"instance_type": "trn2"}, "'trn2' is not an instance type"),
        ({"instance_type": "u-trn2x64"}, "--ultraserver u-trn2x64"),
        ({"instance_type": "trn2.3xlarge", "ultraserver": "u-trn2x64"}, "don't go together"),
        ({"ultraserver": "trn2.3xlarge"}, "not a type of UltraServer"),
        ({"start_after": "tomorrow"}, "'tomorrow' is not a time"),
        ({"start_after": "2026-03-08"}, "up to 8 weeks ahead: until 2026-03-07 09:00 UTC"),
        ({"start_before": "2026-01-10T09:15Z"}, "No block on sale starts as soon as 2026-01-10 09:15 UTC"),
        ({"start_after": "2026-02-02", "start_before": "2026-02-01"}, "--start-before is before --start-after"),
        ({"duration": ",".join(map(str, SOLD_HOURS[:13]))}, "13 searches a region"),
    ],
)
def test_what_cannot_be_found_is_refused_with_what_can(options, told):
    with pytest.raises(InputError) as refused:
        read(**options)
    assert told in str(refused.value)


def test_a_query_is_said_in_words():
    wanted = read(
        instance_type="trn1.32xlarge,trn2.48xlarge",
        duration="24,336",
        region="us-east-2,us-west-2",
        count="4",
        start_after="2026-01-12T08:00-03:00",
        start_before="2026-01-20",
        max_price="1000.50",
    )
    assert wanted.asked(wanted.regions) == (
        "4 x trn1.32xlarge or trn2.48xlarge for 1 day or 14 days in us-east-2 or us-west-2,"
        " starting from 2026-01-12 11:00 UTC, starting by 2026-01-20 00:00 UTC, for at most 1000.50"
    )
    assert read(region="all").asked(["a", "b", "c", "d"]).endswith(" in 4 regions")


TEXT = st.text(max_size=30) | st.text("0123456789,.-:TZ+ ", max_size=30) | st.text("abctrnux,.-123 ", max_size=20)
PLAUSIBLE = {
    "instance_type": st.sampled_from(["", "trn2.3xlarge", "trn1.32xlarge,trn2.48xlarge", "u-trn2x64"]),
    "duration": st.lists(st.sampled_from(SOLD_HOURS), max_size=3).map(lambda hours: ",".join(map(str, hours))),
    "region": st.sampled_from(["", "all", "sa-east-1", "us-east-2,US-WEST-2"]),
    "count": st.sampled_from(["", "1", "64"]),
    "start_after": st.sampled_from(["", "2026-01-12", "2020-01-01T00:00+14:00", "0001-01-01T00:00+01:00"]),
    "start_before": st.sampled_from(["", "2026-02-12", "9999-12-31T23:59:59-01:00", "9999-12-31"]),
    "max_price": st.sampled_from(["", "53.64", "9" * 40]),
    "ultraserver": st.sampled_from(["", "", "u-trn2x64"]),
}
OPTIONS = st.fixed_dictionaries({}, optional={name: TEXT | likely for name, likely in PLAUSIBLE.items()})


@given(OPTIONS, st.booleans())
@example({"duration": "٢٤"}, False)
@example({"start_before": "9999-12-31T23:59:59.999999-23:59"}, False)
@example({"max_price": "NaN"}, False)
def test_any_text_is_a_query_that_can_be_searched_for_or_bad_input(options, all_zones):
    try:
        wanted = read(**options, all_zones=all_zones)
    except InputError:
        return
    regions = wanted.regions or ("sa-east-1",)
    assert set(wanted.hours) <= set(SOLD_HOURS)
    assert 1 <= wanted.count <= MOST_INSTANCES
    assert bool(wanted.ultraserver_type) != bool(wanted.instance_types)
    assert wanted.max_price is None or wanted.max_price > 0
    for moment in (wanted.start_after, wanted.start_before):
        assert moment is None or moment.utcoffset() == timedelta(0)
    requests = wanted.requests(regions)
    assert len(requests) == len(set(requests)) > 0
    assert wanted.asked(regions).isprintable() or options.get("region")


@given(st.fixed_dictionaries({}, optional=PLAUSIBLE), st.booleans())
def test_the_command_for_a_search_reads_as_that_search(options, all_zones):
    try:
        wanted = read(**options, all_zones=all_zones)
    except InputError:
        return
    names = {"-t": "instance_type", "-d": "duration", "-r": "region"}
    for request in wanted.requests(wanted.regions or ("sa-east-1",)):
        words = [word for word in shlex.split(wanted.command(request))[2:] if word != "--all-zones"]
        pairs = zip(words[::2], words[1::2], strict=True)
        said = {names.get(name, name[2:].replace("-", "_")): value for name, value in pairs}
        again = read(**said, all_zones="--all-zones" in wanted.command(request))
        assert again.requests(again.regions) == [request]
        assert again.max_price == (Decimal(options["max_price"]) if options.get("max_price") else None)
