"""What `cb.search` showed, kept so that `cb.purchase --offering-id` needs nothing but the id.

No AWS call looks up an offering by id, and searching every duration for one would run into the
API's very low rate limit. This is a convenience, not a record: losing it only means saying --type,
--duration and --count again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from torchneuron.capacity_blocks.offerings import Offering, Segment
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core import display, files

_FILE = "offerings-shown.json"


def remember(state_dir: Path, offerings: Iterable[Offering], now: datetime) -> None:
    """Keep `offerings` beside those shown before, dropping what has started by `now` (aware).

    Where nothing can be written this only warns: the search itself did what it was asked to.
    """
    path = state_dir / _FILE
    kept = {key: offering for key, offering in _read(path).items() if offering.start > now}
    kept.update((offering.id, offering) for offering in offerings)
    document = {key: dataclasses.asdict(offering) for key, offering in kept.items()}
    try:
        files.write_atomically(path, json.dumps(document, indent=2, default=_as_text) + "\n", mode=0o600)
    except OSError as error:
        display.warn(
            f"cannot write {path} ({error.strerror}); cb.purchase will have to be told --type, --duration and --count."
        )


def recall(state_dir: Path, offering_id: str) -> Offering | None:
    """The offering as it was shown last, in whatever region; None when this id was never shown."""
    return _read(state_dir / _FILE).get(offering_id)


def _read(path: Path) -> dict[str, Offering]:
    """What the file holds; nothing when it is missing, damaged or written by a later version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {key: _offering(value) for key, value in document.items()}
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError):
        return {}


def _as_text(value: datetime | timedelta | Decimal) -> str | float:
    """The values JSON has no word for. A duration is in seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _offering(value: dict[str, Any]) -> Offering:
    """An offering as it was written; fields that the version which wrote it did not have are left out."""
    whole = {**_scheduled(value), "duration": timedelta(seconds=value["duration"]), "search": _search(value["search"])}
    segments = tuple(Segment(**_scheduled(part)) for part in value.get("segments", ()))
    return Offering(**{**whole, "segments": segments})


def _scheduled(value: dict[str, Any]) -> dict[str, Any]:
    """What an offering and a segment of one have in common."""
    return {**value, "start": _time(value["start"]), "end": _time(value["end"]), "fee": Decimal(value["fee"])}


def _search(value: dict[str, Any]) -> SearchRequest:
    dates = {name: _time(value[name]) for name in ("start_after", "start_before") if value.get(name)}
    return SearchRequest(**{**value, **dates})


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time
