"""What the cb commands print, and what they ask before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from torchneuron import display, saved_block
from torchneuron.capacity_blocks import countdown
from torchneuron.capacity_blocks.offerings import Offering, SearchRequest
from torchneuron.capacity_blocks.reservations import PRICE_TAG, Reservation
from torchneuron.capacity_blocks.rules import days
from torchneuron.saved_block import SavedBlock


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


def agreement(*, yes: bool) -> Callable[[Offering], bool]:
    """The question before a purchase: shows the offering as it is quoted now, asks unless `yes`."""

    def ask(offering: Offering) -> bool:
        display.facts(_offering_facts(offering))
        if yes:
            return True
        return display.confirm(
            f"Buy this block for {_price(offering)}? It is paid now, in full, and never refunded.",
            otherwise="Add --yes to buy it without being asked.",
        )

    return ask


def cancellation(*, yes: bool = False) -> Callable[[Reservation], bool]:
    """The question before a reservation is cancelled."""

    def ask(reservation: Reservation) -> bool:
        described(reservation)
        return yes or display.confirm(
            f"Cancel {reservation.id}?",
            otherwise="Run this command in a terminal: it asks before it cancels.",
        )

    return ask


def bought(block: Reservation) -> None:
    """The last word on a purchase: what it bought, and what comes next."""
    display.say(
        f"{block.id} is yours: {block.count} x {block.instance_type} in {block.zone},"
        f" {when(block.start)} to {when(block.reclaimed)}; {block.outlook}."
    )
    if block.state == "payment-pending":
        display.say("AWS may take up to 12 hours for the payment; only if it fails is the block lost.")


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


def when(time: datetime | None) -> str:
    """A time in UTC, and in local time where that differs: `2026-01-31 11:30 UTC (12:30 CET)`."""
    if time is None:
        return "open"
    local = time.astimezone()
    utc = f"{time:%Y-%m-%d %H:%M} UTC"
    if not local.utcoffset():
        return utc
    form = "%H:%M %Z" if local.date() == time.date() else "%Y-%m-%d %H:%M %Z"
    return f"{utc} ({local.strftime(form)})"


def _offering_row(offering: Offering) -> tuple[str, ...]:
    return (
        offering.id,
        offering.zone,
        when(offering.start),
        when(offering.reclaimed),
        countdown.in_words(offering.usable),
        _price(offering),
        f"{offering.price_per_usable_hour:.2f}",
        f"{offering.price_per_instance_hour:.2f}",
    )


def _offering_facts(offering: Offering) -> list[tuple[str, str]]:
    return [
        ("Offering", offering.id),
        ("Instances", f"{offering.count} x {offering.instance_type} {offering.ultraserver_type}".rstrip()),
        ("Zone", offering.zone),
        ("Start", when(offering.start)),
        ("Instances end", f"{when(offering.reclaimed)}, {countdown.in_words(offering.usable)} to use"),
        ("End", when(offering.end)),
        ("Price", f"{_price(offering)}, paid now, {offering.price_per_usable_hour:.2f} a usable hour"),
    ]


def _price(offering: Offering) -> str:
    return f"{offering.fee:,.2f} {offering.currency}"
