"""What `cb.purchase` prints, and what it asks before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchneuron import display
from torchneuron.capacity_blocks import countdown
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.words import price, when


def agreement(*, yes: bool) -> Callable[[Offering], bool]:
    """The question before a purchase: shows the offering as it is quoted now, asks unless `yes`."""

    def ask(offering: Offering) -> bool:
        display.facts(_offering_facts(offering))
        if yes:
            return True
        return display.confirm(
            f"Buy this block for {price(offering.fee, offering.currency)}? It is paid now, in full, never refunded.",
            otherwise="Add --yes to buy it without being asked.",
        )

    return ask


def bought(blocks: Sequence[Reservation]) -> None:
    """The last word on a purchase: what it bought, and what comes next."""
    for block in blocks:
        display.say(
            f"{block.id} is yours: {block.count} x {block.instance_type} in {block.zone},"
            f" {when(block.start)} to {when(block.reclaimed)}; {block.outlook}."
        )
    if any(block.state == "payment-pending" for block in blocks):
        display.say("AWS may take up to 12 hours for the payment; only if it fails is the block lost.")


def save_one_of(blocks: Sequence[Reservation]) -> None:
    """Why nothing was saved, and how: invoke deploy takes one reservation."""
    display.say("invoke deploy runs on one reservation. Save the one it is to use:")
    for block in blocks:
        display.say(f"  invoke cb.save-params --reservation-id {block.id} -r {block.region}")


def tried_out(offering: Offering | None) -> None:
    """The last word on a dry run."""
    if offering:
        display.facts(_offering_facts(offering))
        display.say("AWS would sell it to you (dry run). Nothing was bought.")


def _offering_facts(offering: Offering) -> list[tuple[str, str]]:
    return [
        ("Offering", offering.id),
        ("Instances", f"{offering.count} x {offering.instance_type} {offering.ultraserver_type}".rstrip()),
        ("Zone", offering.zone),
        ("Start", when(offering.start)),
        ("Instances end", f"{when(offering.reclaimed)}, {countdown.in_words(offering.usable)} to use"),
        ("End", when(offering.end)),
        (
            "Price",
            f"{price(offering.fee, offering.currency)}, paid now, {offering.price_per_usable_hour:.2f} a usable hour",
        ),
    ]
