"""Cache of the offerings that `cb.search` showed, so that `cb.purchase --offering-id` needs nothing but the id.

No AWS call looks up an offering by id, and searching every duration for one would reach the rate limit. If the cache
is lost, `cb.purchase` needs --type, --duration and --count.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.core import display, files

_FILE = "offerings-shown.json"
_OFFERINGS = TypeAdapter(dict[str, Offering])


def remember(state_dir: Path, offerings: Iterable[Offering], now: datetime) -> None:
    """Add `offerings` to the cache, and drop those that have started by `now` (aware).

    If the file cannot be written, prints a warning: the search itself succeeded.
    """
    path = state_dir / _FILE
    kept = {key: offering for key, offering in _read(path).items() if offering.start > now}
    kept.update((offering.id, offering) for offering in offerings)
    try:
        files.write_atomically(path, _OFFERINGS.dump_json(kept, indent=2).decode() + "\n", mode=0o600)
    except OSError as error:
        display.warn(f"cannot write {path} ({error.strerror}): cb.purchase will need --type, --duration and --count.")


def recall(state_dir: Path, offering_id: str) -> Offering | None:
    """The offering as it was last shown, in whatever region; None if it is not in the cache."""
    return _read(state_dir / _FILE).get(offering_id)


def _read(path: Path) -> dict[str, Offering]:
    """The cached offerings; none if the file is missing, damaged or of another version."""
    try:
        cached = _OFFERINGS.validate_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: offering for key, offering in cached.items() if offering.start.tzinfo}
