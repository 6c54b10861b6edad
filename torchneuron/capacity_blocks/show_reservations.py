"""What the commands about bought blocks print: `cb.list`, `cb.describe`, `cb.cancel`, the saved block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchneuron import display, saved_block
from torchneuron.capacity_blocks.reservations import PRICE_TAG, Reservation
from torchneuron.capacity_blocks.words import when
from torchneuron.saved_block import SavedBlock


def cancellation(*, yes: bool = False) -> Callable[[Reservation], bool]:
    """The question before a reservation is cancelled."""

    def ask(reservation: Reservation) -> bool:
        described(reservation)
        return yes or display.confirm(
            f"Cancel {reservation.id}?",
            otherwise="Run this command in a terminal: it asks before it cancels.",
        )

    return ask


def listed(blocks: Sequence[Reservation], region: str) -> None:
    """The blocks bought in a region."""
    if not blocks:
        display.say(f"No Capacity Block in {region}.")
        return
    display.table(
        ("Reservation", "Type", ">Free", "Zone", "State", "Start", "End", "Outlook"),
        (
            (
                block.id,
                block.instance_type,
                f"{block.available}/{block.count}",
                block.zone,
                block.state,
                when(block.start),
                when(block.end),
                block.outlook,
            )
            for block in blocks
        ),
    )


def described(reservation: Reservation) -> None:
    """One reservation in full."""
    pairs = [
        ("Reservation", reservation.id),
        ("Kind", "Capacity Block" if reservation.is_block else "On-demand Capacity Reservation"),
        ("State", f"{reservation.state}: {reservation.outlook}"),
        ("Instances", f"{reservation.count} x {reservation.instance_type}, {reservation.available} free"),
        ("Zone", reservation.zone),
        ("Start", when(reservation.start)),
    ]
    if reservation.reclaimed:
        pairs.append(("Instances end", when(reservation.reclaimed)))
    pairs.append(("End", when(reservation.end)))
    if fee := reservation.tags.get(PRICE_TAG):
        pairs.append(("Upfront fee", fee))
    pairs.append(("Platform", reservation.platform))
    pairs.append(("Tags", "\n".join(f"{key} = {value}" for key, value in sorted(reservation.tags.items()))))
    display.facts(pairs)


def saved(block: SavedBlock) -> None:
    """What Parameter Store holds, for a person."""
    names = saved_block.Names(block.region)
    display.say("Parameter Store has:")
    display.facts(((names.reservation, block.reservation_id), (names.subnet, block.subnet_id)))
