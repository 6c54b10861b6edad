from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.query import check_type
from torchneuron.capacity_blocks.rules import (
    SOLD_HOURS,
    SearchRequest,
    check_count,
    check_duration,
    next_longer,
    next_shorter,
    reclaimed_before_end,
)
from torchneuron.core.errors import InputError

START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)


@given(st.integers(min_value=-1000, max_value=10_000))
def test_durations_are_sold_by_the_day_to_14_days_then_by_the_week_to_182(hours):
    days, rest = divmod(hours, 24)
    sold = rest == 0 and (1 <= days <= 14 or (14 < days <= 182 and days % 7 == 0))
    assert (hours in SOLD_HOURS) == sold
    if sold:
        check_duration(hours)
        return
    with pytest.raises(InputError) as refused:
        check_duration(hours)
    for nearest in (next_shorter(hours), next_longer(hours)):
        assert nearest is None or f"{nearest} (" in refused.value.do


@given(
    hours=st.sampled_from(SOLD_HOURS),
    minutes=st.integers(0, 59),
    count=st.integers(1, 64),
    cents=st.integers(1, 10**9),
)
def test_usable_time_is_paid_time_less_what_aws_takes_back(hours, minutes, count, cents):
    duration = timedelta(hours=hours, minutes=minutes)
    block = Offering(
        id="cb-1",
        instance_type="trn2.48xlarge",
        zone="us-east-2a",
        count=count,
        start=START,
        end=START + duration,
        duration=duration,
        fee=Decimal(cents) / 100,
        currency="USD",
        search=SearchRequest("trn2.48xlarge", hours, count, "us-east-2"),
    )
    assert block.usable == duration - timedelta(minutes=30)
    assert block.start + block.usable == block.reclaimed
    usable_hours = Decimal(int(block.usable.total_seconds())) / 3600
    assert abs(block.price_per_usable_hour * usable_hours - block.fee) < Decimal("0.0001")
    assert block.price_per_instance_hour * count < block.price_per_usable_hour


@pytest.mark.parametrize("count", [0, 65, -1])
def test_count_outside_the_limits_is_refused(count):
    with pytest.raises(InputError, match=f"cannot have {count} instances"):
        check_count(count)


def test_instances_of_ultraservers_are_reclaimed_an_hour_before_the_end():
    assert reclaimed_before_end("trn2u.48xlarge") == timedelta(minutes=60)
    assert reclaimed_before_end("trn2.48xlarge", ultraserver=True) == timedelta(minutes=60)
    assert reclaimed_before_end("trn2.48xlarge") == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("hours", "shorter", "longer"),
    [(24, None, 48), (336, 312, 504), (504, 336, 672), (4368, 4200, None), (30, 24, 48)],
)
def test_next_shorter_and_longer_durations_are_sold(hours, shorter, longer):
    assert (next_shorter(hours), next_longer(hours)) == (shorter, longer)


@pytest.mark.parametrize("name", ["u-trn2x64", "u-unheard-of", "trn2u.48xlarge"])
def test_ultraserver_is_refused_with_the_reason(name):
    with pytest.raises(InputError, match=f"'{name}' is for UltraServers, which invoke deploy cannot use") as refused:
        check_type(name)
    assert "aws ec2 describe-capacity-block-offerings --ultraserver-type" in refused.value.do
