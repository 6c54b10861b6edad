"""Buying a Capacity Block exactly once.

EC2's PurchaseCapacityBlock has no client token, so the protocol of `once` applies. The request carries tags that
state its purpose. The intent names the window that is bought, so it is the same for every quote of that window; the
offering's id is kept as well, for when the offering itself is gone. The account's reservations are searched for these
tags before the question, again right before the request, and whenever the response is lost. The outcome is always one
of three: bought, not bought, or unknown with the command that shows it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import aws_time, may_pass
from torchneuron.capacity_blocks import offerings, once, reservations
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.once import Clock, Journal, SentRequest, Sleep
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.refusals import explain_purchase_error
from torchneuron.capacity_blocks.reservations import GONE, NEVER_PAID, PAYMENT_PENDING, PRICE_TAG, Reservation
from torchneuron.core import display
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AwsError, NotFoundError, PurchaseError, PurchaseUnknownError, TorchNeuronError
from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityReservationTypeDef

_INTENT_TAG = "torchneuron:intent"
_OFFERING_TAG = "torchneuron:offering-id"


def purchase(
    ec2: EC2Client,
    ec2_once: EC2Client,
    request: PurchaseRequest,
    *,
    approve: Callable[[Offering], bool],
    sleep: Sleep,
    now: Clock = once.utc_now,
) -> Reservation:
    """Buy the block, unless it was bought already, and wait until it is paid.

    `ec2_once` must be a client without retries (`Aws.ec2_once`). `approve` shows the offering as quoted now and returns
    the user's answer. The returned reservation is still `payment-pending` when the payment takes longer than half an
    hour.

    Raises NotFoundError, InputError, AccessError and Declined before anything is bought; PurchaseError when it was not
    bought or the payment failed; PurchaseUnknownError when the outcome of this purchase, or of an earlier one on this
    machine, is unknown.
    """
    return wait_until_paid(ec2, _BlockPurchase(ec2, ec2_once, request, sleep, now).run(approve), sleep=sleep)


def try_out(
    ec2: EC2Client, ec2_once: EC2Client, request: PurchaseRequest, *, now: Clock = once.utc_now
) -> Offering | None:
    """Do a purchase with EC2's DryRun. Raises as `purchase` does.

    Returns the offering that would be bought; None when it was bought already.
    """
    return _BlockPurchase(ec2, ec2_once, request, lambda _: None, now).try_out()


def wait_until_paid(ec2: EC2Client, bought: Reservation, *, sleep: Sleep) -> Reservation:
    """The reservation once its payment is settled; still `payment-pending` after half an hour.

    Raises PurchaseError when the payment failed or the reservation can no longer be read.
    """
    current = once.wait_until_paid(
        bought.id,
        bought,
        is_pending=lambda block: block.state == PAYMENT_PENDING,
        refresh=lambda block: _refresh(ec2, block),
        sleep=sleep,
    )
    if current.state == "payment-failed":
        raise PurchaseError(
            f"{current.id} is lost: the payment failed.",
            why="AWS could not charge the upfront fee within 12 hours, and has released the block.",
            do="Fix the account's payment method (Billing console), then search and buy again.",
        )
    if current.state in NEVER_PAID:
        raise PurchaseError(
            f"{current.id} is lost: {current.outlook}.",
            why="AWS gives a reservation this state when the request, the capacity or the account's limits forbid it.",
            do="Check the AWS bill for charges, and search again with invoke cb.search.",
        )
    return current


class _BlockPurchase(once.Purchase[Offering, Reservation]):
    """The purchase of one offering."""

    def __init__(self, ec2: EC2Client, ec2_once: EC2Client, request: PurchaseRequest, sleep: Sleep, now: Clock) -> None:
        super().__init__(ec2, ec2_once, Journal(request.state_dir), sleep, now)
        self.wanted = request
        self.region = request.search.region

    def look_up(self) -> Reservation | None:
        owned = reservations.list_all(self.ec2, self.region)
        if bought := self._bought_before(owned):
            return bought
        self.offer = offerings.find(self.ec2, self.wanted.offering_id, self.wanted.search, self.wanted.shown)
        self.wanted.check(self.offer)
        return self._bought_before(owned, self.offer)

    def look_up_again(self) -> Reservation | None:
        return self._bought_before(reservations.list_all(self.ec2, self.region), self.offer)

    def doing(self) -> str:
        return f"buy {self.offer.id}"

    def describe_request(self) -> SentRequest:
        return SentRequest(
            intent=intent_of(self.offer), offering_id=self.wanted.offering_id, region=self.region, at=self.now()
        )

    def build_request(self) -> dict[str, Any]:
        tags = {**project_tags.for_project(self.wanted.project), **tags_for(self.offer, self.wanted.offering_id)}
        return {
            "CapacityBlockOfferingId": self.offer.id,
            "InstancePlatform": "Linux/UNIX",
            "TagSpecifications": [{"ResourceType": "capacity-reservation", "Tags": project_tags.to_aws(tags)}],
        }

    def call(self, request: dict[str, Any]) -> Mapping[str, Any]:
        return self.ec2_once.purchase_capacity_block(**request)

    def parse(self, response: Mapping[str, Any]) -> Reservation | None:
        raw = response.get("CapacityReservation") or {}
        if not raw.get("CapacityReservationId"):
            return None
        # It has an id, so it is bought. Members that are missing here are read while waiting for the payment.
        known: CapacityReservationTypeDef = {"State": PAYMENT_PENDING, "StartDate": self.offer.start}
        return reservations.from_aws({**known, **raw}, self.region, seen=aws_time(response))

    def find(self) -> Reservation | None:
        try:
            owned = reservations.list_all(self.ec2, self.region)
        except AwsError:  # the next lookup may succeed
            return None
        return next(iter(_tagged(owned, _INTENT_TAG, intent_of(self.offer))), None)

    def confirm(self, bought: Reservation) -> None:
        display.note(f"Bought: {bought.id}.")
        # The journal entry stays until the block shows, so that nobody buys it again meanwhile.
        if self.find():
            self.journal.clear(intent_of(self.offer))

    def refused(self, error: AwsError) -> TorchNeuronError:
        return explain_purchase_error(error, self.offer.instance_type)

    def unknown(self, sent: SentRequest, reason: str) -> PurchaseUnknownError:
        return self._unknown(
            f"It is not known whether {self.offer.id} was bought. Do not buy again before you know.",
            f"{reason} No such block shows in your account so far.",
            sent,
        )

    def lookup_command(self, sent: SentRequest) -> str:
        return lookup_command(sent.intent, sent.region)

    def _bought_before(self, owned: Iterable[Reservation], offering: Offering | None = None) -> Reservation | None:
        """The reservation in `owned` that was bought by the requested id, or for the window of `offering`.

        Raises PurchaseUnknownError when none shows, but a request that was sent may still take effect.
        """
        owned = list(owned)
        intent = intent_of(offering) if offering else ""
        bought = _tagged(owned, _OFFERING_TAG, self.wanted.offering_id) or _tagged(owned, _INTENT_TAG, intent)
        if bought:
            self.journal.clear(intent_tagged(bought[0]))
            # Earlier versions bought offerings that became several reservations.
            ids = ", ".join(block.id for block in bought)
            display.note(f"This block was bought already: {ids}, {bought[0].state}. Nothing was bought now.")
            return bought[0]
        if sent := self.journal.find_unsettled(self.now(), offering_id=self.wanted.offering_id, intent=intent):
            raise self._unknown(
                f"It is still not known whether {sent.offering_id} was bought. Nothing was sent now.",
                f"Its purchase was sent from this machine at {sent.at:%H:%M:%S} UTC with an unknown outcome, and no"
                " such block shows in your account so far.",
                sent,
            )
        return None

    def _unknown(self, what: str, why: str, sent: SentRequest) -> PurchaseUnknownError:
        return once.unknown_error(what, why, sent, lookup=self.lookup_command(sent), command="invoke cb.purchase")


def intent_of(offering: Offering) -> str:
    """The purpose of a purchase: the window, whatever id AWS quotes it under."""
    instance_type, zone, count, start, end = offering.window
    return f"{instance_type}/{count}/{zone}/{start:%Y-%m-%dT%H:%MZ}/{end:%Y-%m-%dT%H:%MZ}"


def tags_for(offering: Offering, offering_id: str) -> dict[str, str]:
    """The tags of a purchase. `offering_id` is the id the user gave: AWS may quote its window under another one."""
    return {
        _INTENT_TAG: intent_of(offering),
        _OFFERING_TAG: offering_id,
        PRICE_TAG: f"{offering.fee} {offering.currency}",
    }


def intent_tagged(reservation: Reservation) -> str:
    """The intent a reservation was bought for; empty when this tool did not buy it."""
    return reservation.tags.get(_INTENT_TAG, "")


def lookup_command(intent: str, region: str) -> str:
    """The AWS CLI command that lists what was bought in `region` for this intent."""
    query = (
        f"CapacityReservations[?Tags[?Key=='{_INTENT_TAG}' && Value=='{intent}']]"
        ".[CapacityReservationId,State,StartDate,EndDate]"
    )
    return f"aws ec2 describe-capacity-reservations --region {region} --output table --query {shlex.quote(query)}"


def _tagged(owned: Iterable[Reservation], key: str, value: str) -> list[Reservation]:
    """The reservations with this tag that still give, or will give, capacity."""
    return [block for block in owned if value and block.tags.get(key) == value and block.state not in GONE]


def _refresh(ec2: EC2Client, reservation: Reservation) -> Reservation:
    """The reservation as it is now, or unchanged while it cannot be read.

    Raises PurchaseError when no later lookup can succeed either.
    """
    try:
        return reservations.describe(ec2, reservation.region, reservation.id)
    except NotFoundError:  # just bought, and not visible everywhere yet
        return reservation
    except AwsError as error:
        if may_pass(error):
            return reservation
        raise PurchaseError(
            f"{reservation.id} is bought, but its payment could not be checked.",
            why=error.what,
            do=f"Check later: invoke cb.describe --reservation-id {quoted(reservation.id)} -r {reservation.region}",
        ) from error
