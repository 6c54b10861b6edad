"""What `cb.purchase` prints, and what it asks before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchneuron.aws.account import Account
from torchneuron.capacity_blocks import launch_check, offerings_table
from torchneuron.capacity_blocks.offerings import Offering, Segment
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.core import display
from torchneuron.core.errors import InputError, TorchNeuronError
from torchneuron.core.text import duration, price, quoted, when


def agreement(
    account: Account,
    *,
    yes: bool,
    anyway: bool = False,
    problems: Callable[[Offering], Sequence[TorchNeuronError]] = lambda _: (),
) -> Callable[[Offering], bool]:
    """The question before a purchase: shows who pays, the offering as quoted now and its problems; asks unless `yes`.

    With `yes`, it raises InputError when a machine could not be launched on the block, unless `anyway`.
    """

    def ask(offering: Offering) -> bool:
        display.facts([*account.facts, *_offering_facts(offering)])
        found = problems(offering)
        if found and yes and not anyway:
            raise InputError(
                "A machine could not be launched on this block. Nothing was bought.",
                why=launch_check.in_lines(found),
                do="Fix that first, or add --anyway to buy it all the same.",
            )
        _warn_of(found)
        if yes:
            return True
        return display.confirm(
            f"Buy this block for {price(offering.fee, offering.currency)}? It is paid now, in full, never refunded.",
            otherwise="Add --yes to buy it without being asked.",
            unchanged="Nothing was bought.",
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
        display.say(f"  invoke cb.save-params --reservation-id {quoted(block.id)} -r {block.region}")


def tried_out(
    offering: Offering | None, account: Account, problems: Callable[[Offering], Sequence[TorchNeuronError]]
) -> None:
    """The last word on a dry run, which EC2 answers by the caller's permissions alone."""
    if offering:
        display.facts([*account.facts, *_offering_facts(offering)])
        _warn_of(problems(offering))
        display.say("It is on sale, and you may buy it (dry run). Nothing was bought.")


def _warn_of(problems: Sequence[TorchNeuronError]) -> None:
    if problems:
        display.warn(f"a machine could not be launched on this block:\n{launch_check.in_lines(problems)}")


def _offering_facts(offering: Offering) -> list[tuple[str, str]]:
    return [
        ("Offering", offering.id),
        ("Instances", offerings_table.instances(offering)),
        *_places(offering),
        ("Start", when(offering.start)),
        ("Instances end", f"{when(offering.reclaimed)}, {duration(offering.usable)} to use"),
        ("End", when(offering.end)),
        (
            "Price",
            f"{price(offering.fee, offering.currency)}, paid now, {offering.price_per_usable_hour:.2f} a usable hour",
        ),
    ]


def _places(offering: Offering) -> list[tuple[str, str]]:
    """Where it is. Of segments each, for each becomes a reservation of its own, which only its zone can use."""
    if not offering.segments:
        opt_in = "" if offering.zone_type in ("", "availability-zone") else ": opt in to this zone before you buy"
        return [("Zone", f"{offering.zone}{opt_in}")]
    parts = [
        f"{part.count} x {part.instance_type} in {part.zone}{_own_dates(part, offering)}" for part in offering.segments
    ]
    return [("Segments", "\n".join([*parts, "(a reservation each)"]))]


def _own_dates(part: Segment, whole: Offering) -> str:
    same = (part.start, part.end) == (whole.start, whole.end)
    return "" if same else f", {when(part.start)} to {when(part.end)}"
