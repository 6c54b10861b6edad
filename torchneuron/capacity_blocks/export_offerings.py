"""What a search found, for programs: JSON with everything, CSV with one line an offering.

Keys are camelCase, times ISO 8601 in UTC, and money is text, so that no program makes a float of it unasked.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from torchneuron.capacity_blocks.offerings import Offering, Segment
from torchneuron.capacity_blocks.refusals import Refusal
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.capacity_blocks.searching import Results
from torchneuron.core.errors import AwsError
from torchneuron.core.text import iso

_COLUMNS = (
    "offeringId",
    "region",
    "zone",
    "zoneType",
    "instanceType",
    "instanceCount",
    "ultraserverType",
    "ultraserverCount",
    "start",
    "instancesTerminated",
    "end",
    "paidHours",
    "usableHours",
    "fee",
    "currency",
    "pricePerUsableHour",
    "pricePerInstanceHour",
    "segments",
)


def as_json(results: Results) -> str:
    """One object: `offerings`, `dearer` (above the highest price), `refused`, and `suggestions`, null unless asked."""
    document = {
        "regions": list(results.regions),
        "offerings": [_offering(one) for one in results.offerings],
        "dearer": [_offering(one) for one in results.dearer],
        "refused": [_refusal(one) for one in results.refused],
        "suggestions": None
        if results.suggestions is None
        else [
            {"command": results.query.command(one.request), **_offering(one.offering)} for one in results.suggestions
        ],
    }
    return json.dumps(document, indent=2)


def as_csv(results: Results) -> str:
    """A header and a line an offering; the segments of one are in one cell, separated by semicolons."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_in_cells(_offering(one)) for one in results.offerings)
    return text.getvalue()


def _offering(offering: Offering) -> dict[str, Any]:
    per_instance_hour = offering.price_per_instance_hour
    values = (
        offering.id,
        offering.search.region,
        offering.zone,
        offering.zone_type or None,
        offering.instance_type or None,
        offering.count or None,
        offering.ultraserver_type or None,
        offering.ultraserver_count or None,
        iso(offering.start),
        iso(offering.reclaimed),
        iso(offering.end),
        _number(offering.duration.total_seconds() / 3600),
        _number(offering.usable.total_seconds() / 3600),
        str(offering.fee),
        offering.currency,
        _money(offering.price_per_usable_hour),
        None if per_instance_hour is None else _money(per_instance_hour),
        [_segment(part) for part in offering.segments],
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _segment(part: Segment) -> dict[str, Any]:
    return {
        "zone": part.zone,
        "instanceType": part.instance_type,
        "instanceCount": part.count,
        "start": iso(part.start),
        "end": iso(part.end),
        "fee": str(part.fee),
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        **_request(refusal.request),
        "code": refusal.error.code if isinstance(refusal.error, AwsError) else None,
        "what": refusal.error.what,
        "why": refusal.error.why or None,
    }


def _request(request: SearchRequest) -> dict[str, Any]:
    return {
        "region": request.region,
        "instanceType": request.instance_type or None,
        "ultraserverType": request.ultraserver_type or None,
        "durationHours": request.duration_hours,
        "count": request.count,
    }


def _in_cells(offering: Mapping[str, Any]) -> dict[str, Any]:
    parts = "; ".join(
        f"{part['instanceCount']} x {part['instanceType']} {part['zone']} {part['start']}/{part['end']} {part['fee']}"
        for part in offering["segments"]
    )
    return {**offering, "segments": parts}


def _number(hours: float) -> float | int:
    return int(hours) if hours.is_integer() else round(hours, 4)


def _money(amount: Decimal) -> str:
    """A price worked out, to a hundredth of a cent."""
    return f"{amount:.4f}"
