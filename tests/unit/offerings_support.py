"""Offerings for tests: three by hand, and any there could be."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

from hypothesis import strategies as st

from tests.unit.capacity_fakes import REGION, START, ZONE
from torchneuron.capacity_blocks.offerings import Offering, Segment
from torchneuron.capacity_blocks.rules import SOLD_HOURS
from torchneuron.capacity_blocks.search_request import SearchRequest

REQUEST = SearchRequest("trn2.3xlarge", 24, 1, REGION)
SEGMENTS_REQUEST = SearchRequest("trn1.32xlarge", 24, 20, "us-west-2")
ULTRASERVER_REQUEST = SearchRequest("", 24, 2, "us-east-2", ultraserver_type="u-trn2x64")


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


def of_segments(*parts, **changes):
    """An offering of segments: (zone, count, days after START at which it begins, hours)."""
    segments = tuple(
        Segment(
            "trn1.32xlarge",
            zone,
            count,
            START + timedelta(days=days),
            START + timedelta(days=days, hours=hours),
            Decimal(count * hours) * Decimal("9.53"),
        )
        for zone, count, days, hours in parts
    )
    start, end = min(part.start for part in segments), max(part.end for part in segments)
    given = {
        "instance_type": "trn1.32xlarge",
        "zone": "+".join(dict.fromkeys(part.zone for part in segments)),
        "count": sum(part.count for part in segments),
        "end": end,
        "duration": end - start,
        "search": SEGMENTS_REQUEST,
        "segments": segments,
        "fee": str(sum(part.fee for part in segments)),
    }
    return block("cb-0123456789abcdef5", **{**given, **changes})


def of_ultraservers():
    """Two u-trn2x64 for a day."""
    return block(
        "cb-0123456789abcdefa",
        fee="6866.08",
        instance_type="trn2u.48xlarge",
        zone="us-east-2c",
        count=8,
        ultraserver_type="u-trn2x64",
        ultraserver_count=2,
        search=ULTRASERVER_REQUEST,
    )


_TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)).map(lambda time: time.replace(tzinfo=timezone.utc))
_FEES = st.integers(1, 10**9).map(lambda cents: Decimal(cents) / 100)
_NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)
_SEGMENTS = st.builds(
    lambda start, hours, **given: Segment(start=start, end=start + timedelta(hours=hours), **given),
    start=_TIMES,
    hours=st.integers(1, 4368),
    instance_type=_NAMES,
    zone=_NAMES,
    count=st.integers(1, 64),
    fee=_FEES,
)
_REQUESTS = st.builds(
    SearchRequest,
    instance_type=_NAMES,
    duration_hours=st.sampled_from(SOLD_HOURS),
    count=st.integers(1, 64),
    region=_NAMES,
    ultraserver_type=st.sampled_from(["", "u-trn2x64"]),
    start_after=st.none() | _TIMES,
    start_before=st.none() | _TIMES,
    all_zones=st.booleans(),
)


@st.composite
def blocks(draw):
    """Any offering: of one block or of segments, of instances or UltraServers, from an hour to half a year."""
    segments = tuple(draw(st.lists(_SEGMENTS, max_size=3).filter(lambda parts: len(parts) != 1)))
    start = min((part.start for part in segments), default=None) or draw(_TIMES)
    end = max((part.end for part in segments), default=None) or start + timedelta(hours=draw(st.integers(1, 4368)))
    ultraserver = not segments and draw(st.booleans())
    return block(
        "cb-" + draw(st.text("0123456789abcdef", min_size=8, max_size=17)),
        start=start,
        end=end,
        duration=end - start,
        fee=draw(_FEES),
        count=draw(st.integers(0, 64)),
        zone=draw(_NAMES),
        search=draw(_REQUESTS),
        ultraserver_type="u-trn2x64" if ultraserver else "",
        ultraserver_count=draw(st.integers(1, 4)) if ultraserver else 0,
        segments=segments,
        zone_type=draw(st.sampled_from(["", "availability-zone", "local-zone"])),
    )
