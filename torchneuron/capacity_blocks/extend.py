"""Buying more time for a Capacity Block, exactly once: as with a block there is no refund and no client token.

An extension carries no tags, so what tells it apart afterwards is its offering's id, in the history EC2 keeps of the
block. A note of what was sent stays in the journal until the person has been told how it ended: the block's end
moves when the payment is through, and the same command run again would otherwise buy a second extension after it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from torchneuron.capacity_blocks import extensions, once, reservations, turned_away
from torchneuron.capacity_blocks.extensions import EXTENDED_STATES, FAILED, PENDING, Extension, ExtensionOffering
from torchneuron.capacity_blocks.journal import Journal, Sent
from torchneuron.capacity_blocks.once import Clock, Sleep
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.rules import check_duration, days, extension_window
from torchneuron.core import display
from torchneuron.core.errors import (
    AwsError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
    TorchNeuronError,
)
from torchneuron.core.text import price, quoted, when

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class WantedExtension:
    """More time for a block, in hours, at no more than `max_price` (in the offering's currency) if one is given.

    The journal of what was sent from this machine is in `state_dir`.
    """

    reservation_id: str
    region: str
    hours: int
    state_dir: Path
    max_price: Decimal | None = None

    @property
    def intent(self) -> str:
        """What the journal knows it by. A block has one extension under way at a time: AWS allows no more."""
        return f"extension/{self.reservation_id}"


def extend(
    ec2: EC2Client,
    ec2_once: EC2Client,
    wanted: WantedExtension,
    *,
    agreed: Callable[[ExtensionOffering, Reservation], bool],
    told: Callable[[Extension, Reservation], None],
    sleep: Sleep,
    now: Clock = once.utc_now,
) -> None:
    """Buy the extension, unless it was bought already, wait until it is paid, and say so.

    `ec2_once` must be a client without retries. `agreed` shows the offering and returns the person's answer. `told`
    gives the last word, with the block as it was before; the extension is `payment-pending` then when the payment
    takes longer than half an hour. Until that is through, the same command finds this extension again.

    Raises InputError, NotFoundError, AccessError and Declined before anything was bought, PurchaseError when it was
    not bought or the payment failed, PurchaseUnknownError when nobody can tell.
    """
    check_hours(wanted)
    journal = Journal(wanted.state_dir)
    block, bought = _look(ec2, wanted, journal, now)
    if not bought:
        offering = _offering(ec2, block, wanted)
        if not agreed(offering, block):
            raise Declined("Nothing was bought.")
        with journal.locked():
            # A person took their time to answer: a teammate, or another terminal, may have extended it meanwhile.
            again, bought = _look(ec2, wanted, journal, now)
            if not bought:
                _check_unchanged(again, offering)
                bought = _buy(ec2, ec2_once, offering, wanted, journal, sleep, now)
                display.note(f"Bought: {days(bought.hours)} more for {wanted.reservation_id}.")
    paid = _wait_until_paid(ec2, bought, sleep)
    if paid.status == FAILED:
        journal.strike(wanted.intent)
        raise PurchaseError(
            f"{wanted.reservation_id} was not extended: the payment failed.",
            why="AWS could not charge the fee within 12 hours, or by 35 minutes before the block's end. The block"
            f" itself stays yours and ends at {when(paid.start)}.",
            do="Put the account's payment method right (Billing console), then extend it again.",
        )
    try:
        told(paid, block)
    except TorchNeuronError:  # told, with what went wrong after; but Ctrl-C leaves it open whether it was
        journal.strike(wanted.intent)
        raise
    journal.strike(wanted.intent)


def try_out(
    ec2: EC2Client, ec2_once: EC2Client, wanted: WantedExtension, *, now: Clock = once.utc_now
) -> tuple[ExtensionOffering, Reservation] | None:
    """All of an extension but the purchase: the same looks, and the same request with EC2's DryRun.

    Returns the offering that would be bought, and the block; None when it was bought already. Raises as `extend`.
    """
    check_hours(wanted)
    block, bought = _look(ec2, wanted, Journal(wanted.state_dir), now)
    if bought:
        return None
    offering = _offering(ec2, block, wanted)
    ids = {"CapacityReservationId": offering.reservation_id, "CapacityBlockExtensionOfferingId": offering.id}
    once.dry_run(
        f"extend {offering.reservation_id}",
        lambda: ec2_once.purchase_capacity_block_extension(**ids, DryRun=True),
        turned_away=lambda error: turned_away.extension(error, offering.instance_type),
        tells=_command_that_tells(wanted, offering.id),
    )
    return offering, block


def check_hours(wanted: WantedExtension) -> None:
    """Raise InputError for no duration, too: nobody is to pay for a day they did not name."""
    if not wanted.hours:
        raise InputError("How much longer? --duration is missing.", do="Give it in hours: -d 24 for a day.")
    check_duration(wanted.hours)


def _look(
    ec2: EC2Client, wanted: WantedExtension, journal: Journal, now: Clock
) -> tuple[Reservation, Extension | None]:
    """The block as it is, and the wanted extension if it was bought already.

    Raises InputError when the block cannot be extended, PurchaseUnknownError when an extension that was sent does
    not show, but may still do.
    """
    block = reservations.describe(ec2, wanted.region, wanted.reservation_id)
    made = extensions.history(ec2, [wanted.reservation_id]) if block.is_block else []
    if sent := journal.noted(wanted.intent):
        if bought := _of_offering(made, sent.offering_id):
            if bought.hours != wanted.hours:
                journal.strike(wanted.intent)
                raise InputError(
                    f"{_named(bought)} was bought already ({bought.status}). Nothing was bought now.",
                    why=f"It ends at {when(bought.end)}; how its purchase ended had not been told yet.",
                    do=f"To buy {days(wanted.hours)} as well, run the same command again.",
                )
            display.note(f"{_named(bought)} was bought already ({bought.status}). Nothing was bought now.")
            return block, bought
        if now() < sent.settled:
            raise _unknown(
                f"It is still not known whether {wanted.reservation_id} was extended. Nothing was sent now.",
                f"An extension was sent from this machine at {sent.at:%H:%M:%S} UTC, how that ended is not known,"
                " and it does not show so far.",
                wanted,
                sent,
            )
        journal.strike(wanted.intent)
    if pending := next((one for one in made if one.status == PENDING), None):
        if pending.hours != wanted.hours:
            raise InputError(
                f"{_named(pending)} is still being paid. Nothing was bought.",
                why="AWS sells no other extension of a block before that is through.",
                do=f"See how it goes: invoke cb.describe --reservation-id {quoted(block.id)} -r {wanted.region}",
            )
        display.note(f"{_named(pending)} was bought already and is being paid. Nothing was bought now.")
        return block, pending
    _check_extendable(block)
    return block, None


def _check_extendable(block: Reservation) -> None:
    """Raise InputError unless AWS sells extensions of this block at the moment, by AWS's own clock."""
    if not block.is_block or block.end is None:
        raise InputError(
            f"{block.id} is not a Capacity Block: there is nothing to extend.",
            do="An on-demand reservation's end can be changed: aws ec2 modify-capacity-reservation.",
        )
    if block.state not in EXTENDED_STATES:
        raise InputError(
            f"{block.id} is {block.state}: only a block that is scheduled or active can be extended.",
            why=f"Now: {block.outlook}.",
        )
    opens, closes = extension_window(block.end)
    if block.seen < opens:
        raise InputError(
            f"{block.id} cannot be extended yet: its end is more than 56 days away.",
            why=f"It ends at {when(block.end)}; AWS sells extensions from {when(opens)} on.",
        )
    if block.seen > closes:
        raise InputError(
            f"{block.id} can no longer be extended: AWS sells extensions until 1 hour before a block's end.",
            why=f"That was {when(closes)}. Now: {block.outlook}.",
            do="Save your work off the machine, and buy another block: invoke cb.search.",
        )


def _offering(ec2: EC2Client, block: Reservation, wanted: WantedExtension) -> ExtensionOffering:
    """The cheapest extension on sale. Raises NotFoundError when there is none, InputError when it costs too much."""
    found = extensions.on_sale(ec2, block.id, wanted.hours)
    if not found:
        raise NotFoundError(
            f"AWS has no extension of {days(wanted.hours)} on sale for {block.id}.",
            why="It sells one only while the capacity is free after the block's end.",
            do="Try another duration (-d), or look for a block of its own: invoke cb.search.",
        )
    cheapest = found[0]
    if wanted.max_price is not None and cheapest.fee > wanted.max_price:
        raise InputError(
            f"{days(cheapest.hours).capitalize()} more cost {price(cheapest.fee, cheapest.currency)},"
            f" more than --max-price {wanted.max_price}. Nothing was bought.",
            do="Give a higher --max-price, or a shorter duration.",
        )
    return cheapest


def _check_unchanged(block: Reservation, offering: ExtensionOffering) -> None:
    if block.end != offering.start:
        raise InputError(
            f"{block.id} has been extended meanwhile. Nothing was bought now.",
            why=f"It ends at {when(block.end)}, and you were asked about time from {when(offering.start)} on.",
            do="Look at it with invoke cb.describe; extend it again if that is not enough.",
        )


def _buy(
    ec2: EC2Client,
    ec2_once: EC2Client,
    offering: ExtensionOffering,
    wanted: WantedExtension,
    journal: Journal,
    sleep: Sleep,
    now: Clock,
) -> Extension:
    """Send the request and learn its outcome. It stays noted in the journal unless it was turned away."""
    sent = Sent(wanted.intent, offering.id, wanted.region, at=now())
    bought = once.send(
        f"extend {offering.reservation_id}",
        lambda: _send(ec2_once, offering),
        journal=journal,
        sent=sent,
        turned_away=lambda error: turned_away.extension(error, offering.instance_type),
    )
    bought = bought or once.settle(lambda: _of_offering(_made_if_readable(ec2, offering), offering.id), sleep=sleep)
    if bought is None:
        raise _unknown(
            f"It is not known whether {offering.reservation_id} was extended. Do not extend it again before you know.",
            "The request was sent, no answer that tells came back, and the extension does not show so far.",
            wanted,
            sent,
        )
    return bought


def _send(ec2_once: EC2Client, offering: ExtensionOffering) -> Extension | None:
    answer = ec2_once.purchase_capacity_block_extension(
        CapacityReservationId=offering.reservation_id, CapacityBlockExtensionOfferingId=offering.id
    )
    return _of_offering([extensions.bought(raw) for raw in answer["CapacityBlockExtensions"]], offering.id)


def _wait_until_paid(ec2: EC2Client, extension: Extension, sleep: Sleep) -> Extension:
    return once.until_paid(
        _named(extension).lower(),
        extension,
        is_pending=lambda one: one.status == PENDING,
        look=lambda one: _of_offering(_made_if_readable(ec2, one), one.offering_id) or one,
        sleep=sleep,
    )


def _made_if_readable(ec2: EC2Client, of: ExtensionOffering | Extension) -> list[Extension]:
    """The block's extensions, or none while they cannot be read: the next look may succeed."""
    try:
        return extensions.history(ec2, [of.reservation_id])
    except AwsError:
        return []


def _of_offering(made: Sequence[Extension], offering_id: str) -> Extension | None:
    """The one bought as this offering; one whose payment failed only if it was not bought again."""
    matching = [one for one in made if one.offering_id == offering_id]
    return min(matching, key=lambda one: one.status == FAILED, default=None)


def _named(extension: Extension) -> str:
    return f"An extension of {extension.reservation_id} by {days(extension.hours)}"


def _unknown(what: str, why: str, wanted: WantedExtension, sent: Sent) -> PurchaseUnknownError:
    return PurchaseUnknownError(
        what,
        why=f"{why} It can still appear until {sent.settled:%H:%M:%S} UTC.",
        do=f"This shows it if it was bought:\n  {_command_that_tells(wanted, sent.offering_id)}\n"
        "The same invoke cb.extend looks there first, too. It sends nothing until then; after that it takes an"
        " extension that still does not show as not bought, and buys it as if for the first time.",
    )


def _command_that_tells(wanted: WantedExtension, offering_id: str) -> str:
    query = f"CapacityBlockExtensions[?CapacityBlockExtensionOfferingId=='{offering_id}']"
    return (
        f"aws ec2 describe-capacity-block-extension-history --capacity-reservation-ids {quoted(wanted.reservation_id)}"
        f" --region {wanted.region} --output table --query {shlex.quote(query)}"
    )
