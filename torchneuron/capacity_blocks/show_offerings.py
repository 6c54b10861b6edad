"""What `cb.search` prints."""

from __future__ import annotations

from collections.abc import Sequence

from torchneuron import display
from torchneuron.capacity_blocks import countdown
from torchneuron.capacity_blocks.offerings import Offering, SearchRequest
from torchneuron.capacity_blocks.rules import days
from torchneuron.capacity_blocks.words import price, when


def found(offerings: Sequence[Offering], request: SearchRequest) -> None:
    """The result of a search, and how to buy from it."""
    asked = f"{request.count} x {request.instance_type} for {days(request.duration_hours)} in {request.region}"
    if not offerings:
        display.say(f"No Capacity Block on sale: {asked}.")
        display.say("Other durations (-d), counts (--count) or regions (-r) may have one.")
        return
    display.table(
        (
            "Offering",
            "Zone",
            "Start",
            "Instances end",
            ">Usable",
            ">Price",
            ">Per usable hour",
            ">Per instance hour",
        ),
        (_offering_row(offering) for offering in offerings),
        title=f"Capacity Blocks on sale: {asked}",
    )
    best = offerings[0]
    display.say("Cheapest first. To buy the first one:")
    display.say(
        f"  invoke cb.purchase --offering-id {best.id} --start-time {best.start:%Y-%m-%dT%H:%M:%SZ} -r {request.region}"
    )


def _offering_row(offering: Offering) -> tuple[str, ...]:
    return (
        offering.id,
        offering.zone,
        when(offering.start),
        when(offering.reclaimed),
        countdown.in_words(offering.usable),
        price(offering.fee, offering.currency),
        f"{offering.price_per_usable_hour:.2f}",
        f"{offering.price_per_instance_hour:.2f}",
    )
