"""What `cb.search` showed, kept so that `cb.purchase --offering-id` needs nothing but the id.

No AWS call looks up an offering by id, and searching every duration for one would run into the
API's very low rate limit. This is a convenience, not a record: losing it only means saying --type,
--duration and --count again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from torchneuron import display, files
from torchneuron.capacity_blocks.offerings import Offering, SearchRequest

_FILE = "offerings-shown.json"


def remember(state_dir: Path, offerings: Iterable[Offering], now: datetime) -> None:
    """Keep `offerings` beside those shown before, dropping what has started by `now` (aware).

    Where nothing can be written this only warns: the search itself did what it was asked to.
    """
    path = state_dir / _FILE
    kept = {key: offering for key, offering in _read(path).items() if offering.start > now}
    kept.update((offering.id, offering) for offering in offerings)
    text = json.dumps({key: _to_json(offering) for key, offering in kept.items()}, indent=2)
    try:
        files.write_atomically(path, text + "\n", mode=0o600)
    except OSError as error:
        display.warn(
            f"cannot write {path} ({error.strerror}); cb.purchase will have to be told --type, --duration and --count."
        )


def recall(state_dir: Path, offering_id: str, region: str) -> Offering | None:
    """The offering as it was shown last; None when this id was never shown for `region`."""
    offering = _read(state_dir / _FILE).get(offering_id)
    return offering if offering and offering.search.region == region else None


def _read(path: Path) -> dict[str, Offering]:
    """What the file holds; nothing when it is missing, damaged or written by another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {key: _from_json(value) for key, value in document.items()}
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError):
        return {}


def _to_json(offering: Offering) -> dict[str, Any]:
    return {
        **vars(offering),
        "start": offering.start.isoformat(),
        "end": offering.end.isoformat(),
        "duration": offering.duration.total_seconds(),
        "fee": str(offering.fee),
        "search": vars(offering.search),
    }


def _from_json(value: dict[str, Any]) -> Offering:
    return Offering(
        **{
            **value,
            "start": datetime.fromisoformat(value["start"]),
            "end": datetime.fromisoformat(value["end"]),
            "duration": timedelta(seconds=value["duration"]),
            "fee": Decimal(value["fee"]),
            "search": SearchRequest(**value["search"]),
        }
    )
