"""Extending a Capacity Block exactly once.

Like a purchase, an extension is never refunded and its request has no client token, so the protocol of `once` applies.
An extension has no tags; it is recognized by its offering's id in the block's extension history. The journal entry
stays until the outcome has been reported: the block's end moves once the payment is through, and the same command run
again would otherwise buy a second extension after the first.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchneuron.capacity_blocks import extensions, once, reservations
from torchneuron.capacity_blocks.extensions import EXTENDABLE_STATES, FAILED, PENDING, Extension, ExtensionOffering
from torchneuron.capacity_blocks.once import Clock, Journal, SentRequest, Sleep
from torchneuron.capacity_blocks.refusals import explain_extension_error
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.rules import check_duration, days, extension_window
from torchneuron.core import display
from torchneuron.core.errors import (
    AwsError,
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
class ExtensionRequest:
    """An extension of a block by `hours`, for at most `max_price` in the offering's currency.

    `state_dir` holds the journal.
    """

    reservation_id: str
    region: str
    hours: int
    state_dir: Path
    max_price: Decimal | None = None

    def check_hours(self) -> None:
        """Raise InputError for a duration that is missing or not sold. There is no default: each day costs money."""
        if not self.hours:
            raise InputError("Missing option: --duration.", do="Give the additional hours: -d 24 for a day.")
        check_duration(self.hours)


def extend(
    ec2: EC2Client,
    ec2_once: EC2Client,
    request: ExtensionRequest,
    *,
    approve: Callable[[ExtensionOffering], bool],
    report: Callable[[Extension, Reservation], None],
    sleep: Sleep,
    now: Clock = once.utc_now,
) -> None:
    """Buy the extension, unless it was bought already, wait until it is paid, and `report` it.

    `ec2_once` must be a client without retries. `approve` shows the offering and returns the user's answer. `report`
    gets the extension and the block as it was before; the extension is `payment-pending` when the payment takes longer
    than half an hour. Until it is paid, the same command finds this extension again.

    Raises InputError, NotFoundError, AccessError and Declined before anything is bought; PurchaseError when it was not
    bought or the payment failed; PurchaseUnknownError when the outcome is unknown.
    """
    purchase = _ExtensionPurchase(ec2, ec2_once, request, sleep, now)
    paid = purchase.wait_until_paid(purchase.run(approve))
    if paid.status == FAILED:
        purchase.clear()
        raise PurchaseError(
            f"{request.reservation_id} was not extended: the payment failed.",
            why="AWS could not charge the fee within 12 hours, or by 35 minutes before the block's end. The block"
            f" itself stays yours and ends at {when(paid.start)}.",
            do="Fix the account's payment method (Billing console), then extend it again.",
        )
    try:
        report(paid, purchase.block)
    except TorchNeuronError:  # the outcome was reported; an interruption leaves that open
        purchase.clear()
        raise
    purchase.clear()


def try_out(
    ec2: EC2Client, ec2_once: EC2Client, request: ExtensionRequest, *, now: Clock = once.utc_now
) -> ExtensionOffering | None:
    """Do an extension with EC2's DryRun. Raises as `extend` does.

    Returns the offering that would be bought; None when it was bought already.
    """
    return _ExtensionPurchase(ec2, ec2_once, request, lambda _: None, now).try_out()


class _ExtensionPurchase(once.Purchase[ExtensionOffering, Extension]):
    """The purchase of one extension. `block` is the block as of the last lookup."""

    block: Reservation

    def __init__(
        self, ec2: EC2Client, ec2_once: EC2Client, request: ExtensionRequest, sleep: Sleep, now: Clock
    ) -> None:
        request.check_hours()
        super().__init__(ec2, ec2_once, Journal(request.state_dir), sleep, now)
        self.wanted = request
        # A block has one extension in progress at a time: AWS allows no more.
        self.intent = f"extension/{request.reservation_id}"

    def look_up(self) -> Extension | None:
        bought = self._bought_before()
        if bought is None:
            self.offer = self._find_offering()
        return bought

    def look_up_again(self) -> Extension | None:
        before = self.block
        bought = self._bought_before()
        if bought is None and self.block.end != self.offer.start:
            raise InputError(
                f"{self.block.id} has been extended in the meantime. Nothing was bought now.",
                why=f"It ends at {when(self.block.end)}; the offer was for time from {when(self.offer.start)} on.",
                do="See it with invoke cb.describe; extend it again if that is not enough.",
            )
        self.block = before
        return bought

    def doing(self) -> str:
        return f"extend {self.wanted.reservation_id}"

    def describe_request(self) -> SentRequest:
        return SentRequest(intent=self.intent, offering_id=self.offer.id, region=self.wanted.region, at=self.now())

    def build_request(self) -> dict[str, Any]:
        return {
            "CapacityReservationId": self.wanted.reservation_id,
            "CapacityBlockExtensionOfferingId": self.offer.id,
        }

    def call(self, request: dict[str, Any]) -> Mapping[str, Any]:
        return self.ec2_once.purchase_capacity_block_extension(**request)

    def parse(self, response: Mapping[str, Any]) -> Extension | None:
        return _by_offering([extensions.from_aws(raw) for raw in response["CapacityBlockExtensions"]], self.offer.id)

    def find(self) -> Extension | None:
        return self._find_bought(self.offer.id)

    def confirm(self, bought: Extension) -> None:
        display.note(f"Bought: {days(bought.hours)} more for {bought.reservation_id}.")

    def refused(self, error: AwsError) -> TorchNeuronError:
        return explain_extension_error(error, self.offer.block.instance_type)

    def unknown(self, sent: SentRequest, reason: str) -> PurchaseUnknownError:
        return self._unknown(
            f"It is not known whether {self.wanted.reservation_id} was extended. Do not extend it again before you"
            " know.",
            f"{reason} The extension does not show so far.",
            sent,
        )

    def lookup_command(self, sent: SentRequest) -> str:
        query = f"CapacityBlockExtensions[?CapacityBlockExtensionOfferingId=='{sent.offering_id}']"
        return (
            "aws ec2 describe-capacity-block-extension-history"
            f" --capacity-reservation-ids {quoted(self.wanted.reservation_id)}"
            f" --region {self.wanted.region} --output table --query {shlex.quote(query)}"
        )

    def clear(self) -> None:
        self.journal.clear(self.intent)

    def wait_until_paid(self, bought: Extension) -> Extension:
        return once.wait_until_paid(
            _name(bought).lower(),
            bought,
            is_pending=lambda extension: extension.status == PENDING,
            refresh=lambda extension: self._find_bought(extension.offering_id) or extension,
            sleep=self.sleep,
        )

    def _bought_before(self) -> Extension | None:
        """The requested extension, if it was bought already. Updates `block`.

        Raises InputError when the block cannot be extended, PurchaseUnknownError when a request that was sent may
        still take effect.
        """
        wanted = self.wanted
        self.block = reservations.describe(self.ec2, wanted.region, wanted.reservation_id)
        history = extensions.history(self.ec2, [wanted.reservation_id]) if self.block.is_block else []
        if sent := self.journal.find(self.intent):
            if bought := _by_offering(history, sent.offering_id):
                if bought.hours != wanted.hours:
                    self.clear()
                    raise InputError(
                        f"{_name(bought)} was bought already ({bought.status}). Nothing was bought now.",
                        why=f"It ends at {when(bought.end)}; the outcome of its purchase had not been reported yet.",
                        do=f"To buy {days(wanted.hours)} as well, run the same command again.",
                    )
                display.note(f"{_name(bought)} was bought already ({bought.status}). Nothing was bought now.")
                return bought
            if self.now() < sent.settles_at:
                raise self._unknown(
                    f"It is still not known whether {wanted.reservation_id} was extended. Nothing was sent now.",
                    f"An extension was sent from this machine at {sent.at:%H:%M:%S} UTC with an unknown outcome, and"
                    " does not show so far.",
                    sent,
                )
            self.clear()
        if pending := next((extension for extension in history if extension.status == PENDING), None):
            if pending.hours != wanted.hours:
                raise InputError(
                    f"The payment of an earlier extension of {wanted.reservation_id} is pending. Nothing was bought.",
                    why=f"{_name(pending)} was bought. AWS sells no other extension of the block until it is paid.",
                    do=f"See its status: invoke cb.describe --reservation-id {quoted(self.block.id)}"
                    f" -r {wanted.region}",
                )
            display.note(f"{_name(pending)} was bought already and is being paid. Nothing was bought now.")
            return pending
        _check_extendable(self.block)
        return None

    def _find_offering(self) -> ExtensionOffering:
        """The cheapest extension on sale. Raises NotFoundError without one, InputError when it costs too much."""
        wanted = self.wanted
        found = extensions.on_sale(self.ec2, self.block, wanted.hours)
        if not found:
            raise NotFoundError(
                f"AWS has no extension of {days(wanted.hours)} on sale for {self.block.id}.",
                why="AWS sells one only while the capacity is free after the block's end.",
                do="Try another duration (-d), or search for a new block: invoke cb.search.",
            )
        cheapest = found[0]
        if wanted.max_price is not None and cheapest.fee > wanted.max_price:
            raise InputError(
                f"{days(cheapest.hours).capitalize()} more cost {price(cheapest.fee, cheapest.currency)},"
                f" more than --max-price {wanted.max_price}. Nothing was bought.",
                do="Raise --max-price, or choose a shorter duration.",
            )
        return cheapest

    def _find_bought(self, offering_id: str) -> Extension | None:
        """The extension bought as this offering; None while it does not show or cannot be read."""
        try:
            return _by_offering(extensions.history(self.ec2, [self.wanted.reservation_id]), offering_id)
        except AwsError:  # the next lookup may succeed
            return None

    def _unknown(self, what: str, why: str, sent: SentRequest) -> PurchaseUnknownError:
        return once.unknown_error(what, why, sent, lookup=self.lookup_command(sent), command="invoke cb.extend")


def _check_extendable(block: Reservation) -> None:
    """Raise InputError unless AWS sells extensions of this block now, by AWS's clock."""
    if not block.is_block or block.end is None:
        raise InputError(
            f"{block.id} is not a Capacity Block and cannot be extended.",
            do="The end of an on-demand reservation can be changed: aws ec2 modify-capacity-reservation.",
        )
    if block.state not in EXTENDABLE_STATES:
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
            do="Save your work outside the instances, and buy another block: invoke cb.search.",
        )


def _by_offering(history: Sequence[Extension], offering_id: str) -> Extension | None:
    """The extension bought as this offering; one with a failed payment only if it was not bought again."""
    matching = [extension for extension in history if extension.offering_id == offering_id]
    return min(matching, key=lambda extension: extension.status == FAILED, default=None)


def _name(extension: Extension) -> str:
    return f"An extension of {extension.reservation_id} by {days(extension.hours)}"
