"""Offerings for tests: by hand, and as hypothesis strategies."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

from hypothesis import strategies as st

from tests.unit.capacity_fakes import REGION, START, ZONE
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.rules import SOLD_HOURS, SearchRequest

REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)


def block(offering_id="cb-0123456789abcdef0", *, start=START, hours=24, fee="53.64", **changes):
    """An ordinary offering."""
    given = {
        "id": offering_id,
        "instance_type": "trn2.3xlarge",
        "zone": ZONE,
        "count": 1,
        "start": start,
        "end": start + timedelta(hours=hours),
        "duration": timedelta(hours=hours),
        "fee": Decimal(fee),
        "currency": "USD",
        "search": SearchRequest("trn2.3xlarge", hours, 1, REGION),
        "zone_type": "availability-zone",
    }
    return Offering(**{**given, **changes})


_TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)).map(lambda time: time.replace(tzinfo=timezone.utc))
_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)
_REQUESTS = st.builds(
    SearchRequest,
    instance_type=_NAMES,
    duration_hours=st.sampled_from(SOLD_HOURS),
    count=st.integers(1, 64),
    region=_NAMES,
    start_after=st.none() | _TIMES,
    start_before=st.none() | _TIMES,
    all_zones=st.booleans(),
)


@st.composite
def blocks(draw):
    """Any offering, from an hour to half a year."""
    return block(
        "cb-" + draw(st.text("0123456789abcdef", min_size=8, max_size=17)),
        start=draw(_TIMES),
        hours=draw(st.integers(1, 4368)),
        fee=str(Decimal(draw(st.integers(1, 10**9))) / 100),
        count=draw(st.integers(1, 64)),
        zone=draw(_NAMES),
        search=draw(_REQUESTS),
        zone_type=draw(st.sampled_from(["", "availability-zone", "local-zone"])),
        unsupported_reason=draw(st.sampled_from(["", "It has several segments."])),
    )
