"""Search results for programs: JSON with everything, CSV with one line per offering.

Keys are camelCase, times ISO 8601 in UTC, and money is text, so that no program reads it as a float by accident.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.refusals import Refusal
from torchneuron.capacity_blocks.search import Results
from torchneuron.core.errors import AwsError
from torchneuron.core.text import iso

_COLUMNS: dict[str, Callable[[Offering], Any]] = {
    "offeringId": lambda offering: offering.id,
    "region": lambda offering: offering.search.region,
    "zone": lambda offering: offering.zone,
    "zoneType": lambda offering: offering.zone_type or None,
    "instanceType": lambda offering: offering.instance_type,
    "instanceCount": lambda offering: offering.count,
    "start": lambda offering: iso(offering.start),
    "instancesTerminated": lambda offering: iso(offering.reclaimed),
    "end": lambda offering: iso(offering.end),
    "paidHours": lambda offering: _hours(offering.duration),
    "usableHours": lambda offering: _hours(offering.usable),
    "fee": lambda offering: str(offering.fee),
    "currency": lambda offering: offering.currency,
    "pricePerUsableHour": lambda offering: _unit_price(offering.price_per_usable_hour),
    "pricePerInstanceHour": lambda offering: _unit_price(offering.price_per_instance_hour),
}


def as_json(results: Results) -> str:
    """One object. `dearer` are offerings above the maximum price, `unsupported` those that `invoke deploy` cannot use;
    `suggestions` is null unless requested.
    """
    suggestions = None
    if results.suggestions is not None:
        suggestions = [
            {"command": results.query.command(suggestion.request), **_row(suggestion.offering)}
            for suggestion in results.suggestions
        ]
    document = {
        "regions": list(results.regions),
        "offerings": [_row(offering) for offering in results.offerings],
        "dearer": [_row(offering) for offering in results.dearer],
        "unsupported": [_unsupported(offering) for offering in results.unsupported],
        "refused": [_refusal(refusal) for refusal in results.refused],
        "suggestions": suggestions,
    }
    return json.dumps(document, indent=2)


def as_csv(results: Results) -> str:
    """A header, and a line per offering."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(offering) for offering in results.offerings)
    return text.getvalue()


def _row(offering: Offering) -> dict[str, Any]:
    return {name: value(offering) for name, value in _COLUMNS.items()}


def _unsupported(offering: Offering) -> dict[str, Any]:
    return {
        "offeringId": offering.id,
        "region": offering.search.region,
        "instanceType": offering.instance_type,
        "instanceCount": offering.count,
        "reason": offering.unsupported_reason,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    request, error = refusal.request, refusal.error
    return {
        "region": request.region,
        "instanceType": request.instance_type,
        "durationHours": request.duration_hours,
        "count": request.count,
        "code": error.code if isinstance(error, AwsError) else None,
        "what": error.what,
        "why": error.why or None,
    }


def _hours(span: timedelta) -> float | int:
    hours = span / timedelta(hours=1)
    return int(hours) if hours.is_integer() else round(hours, 4)


def _unit_price(amount: Decimal) -> str:
    """A calculated price, to a hundredth of a cent."""
    return f"{amount:.4f}"
