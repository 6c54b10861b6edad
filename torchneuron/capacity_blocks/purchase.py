"""Buying a Capacity Block exactly once: there is no refund and, in EC2's API, no client token.

A repeated request would buy a second block. So the request is sent by a client that never retries, and
carries tags that say what it was for; before the question, again right before the request, and whenever its
answer is lost, the account's reservations are searched for those tags. What was sent from this machine and does
not show yet is in the journal, and is not sent again. The last word is always one of three: bought, not bought,
or unknown with the command that will tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ProxyConnectionError,
)

from torchneuron import display
from torchneuron.aws import calling
from torchneuron.capacity_blocks import offerings, reservations
from torchneuron.capacity_blocks.intent import (
    bought_as,
    bought_for,
    command_that_tells,
    intent_of,
    intent_tagged,
    tags_for,
)
from torchneuron.capacity_blocks.journal import Journal, Sent
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.wanted import Wanted, check_unchanged
from torchneuron.errors import (
    AccessError,
    AwsError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
    TorchNeuronError,
    UnreachableError,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityReservationTypeDef, TagTypeDef

Sleep = Callable[[float], None]
Clock = Callable[[], datetime]

# Seconds between looks for a purchase whose answer was lost: EC2 shows what is new within seconds as a rule.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Seconds. AWS takes payment within 12 hours, as a rule within minutes; after this long the person is let go.
_PAYMENT_PATIENCE = 1800.0
_SLOWEST_POLL = 20.0
# The request did not get as far as AWS.
_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, ParamValidationError)
# Refusals that EC2 sends with a server error's status: the request was turned away at the door.
_THROTTLED = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException"})
# EC2 API reference, "Error codes".
_REFUSALS = {
    "InvalidCapacityBlockOfferingIdExpired": "the offering is no longer on sale",
    "InvalidCapacityBlockOfferingIdNotFound": "AWS does not know this offering",
    "InvalidCapacityBlockOfferingIdMalformed": "this is not an offering's id",
}


def purchase(
    ec2: EC2Client,
    once: EC2Client,
    wanted: Wanted,
    *,
    agreed: Callable[[Offering], bool],
    sleep: Sleep = time.sleep,
    now: Clock = lambda: datetime.now(timezone.utc),
) -> Reservation:
    """Buy the wanted block, unless it was bought already, and wait until it is paid.

    `once` must be a client without retries (`Aws.ec2_once`). `agreed` shows the offering with its price,
    as AWS quotes it now, and returns the person's answer. The reservation returned is in state
    `payment-pending` when the payment takes longer than half an hour.

    Raises NotFoundError, InputError, AccessError and Declined before anything was bought, PurchaseError
    when it was not bought or the payment failed, PurchaseUnknownError when nobody can tell, now or from an
    earlier purchase on this machine.
    """
    region = wanted.search.region
    journal = Journal(wanted.state_dir)
    owned = reservations.list_all(ec2, region)
    if bought := _bought_before(owned, wanted, journal, now):
        return wait_until_paid(ec2, bought, sleep=sleep)
    offering = offerings.find(ec2, wanted.offering_id, wanted.search, wanted.shown)
    check_unchanged(offering, wanted)
    if bought := _bought_before(owned, wanted, journal, now, offering):
        return wait_until_paid(ec2, bought, sleep=sleep)
    if not agreed(offering):
        raise Declined("Nothing was bought.")
    with journal.locked():
        # A person took their time to answer: a teammate, or another terminal, may have bought it meanwhile.
        owned = reservations.list_all(ec2, region)
        bought = _bought_before(owned, wanted, journal, now, offering)
        if not bought:
            bought = _buy(ec2, once, offering, wanted, journal, sleep, now)
            display.note(f"Bought: {bought.id}.")
            # Until it shows, whoever looks next finds nothing: the note keeps them from buying it again.
            if bought_for(_owned_if_readable(ec2, region), offering):
                journal.strike(intent_of(offering))
    return wait_until_paid(ec2, bought, sleep=sleep)


def wait_until_paid(ec2: EC2Client, reservation: Reservation, *, sleep: Sleep = time.sleep) -> Reservation:
    """The reservation once its payment is settled; still `payment-pending` after half an hour.

    Raises PurchaseError when the payment failed or the reservation can no longer be read.
    """
    waited, pause = 0.0, 1.0
    with display.waiting(f"AWS takes the payment for {reservation.id}"):
        while reservation.state == "payment-pending" and waited < _PAYMENT_PATIENCE:
            sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, _SLOWEST_POLL)
            reservation = _look_again(ec2, reservation)
    if reservation.state in ("payment-failed", "failed"):
        raise PurchaseError(
            f"{reservation.id} is lost: the payment failed.",
            why="AWS could not charge the upfront fee within 12 hours, and has released the block.",
            do="Put the account's payment method right (Billing console), then search and buy again.",
        )
    return reservation


def _bought_before(
    owned: Iterable[Reservation], wanted: Wanted, journal: Journal, now: Clock, offering: Offering | None = None
) -> Reservation | None:
    """What of `owned` was bought as the wanted id, or for the window of `offering`; None when nothing was.

    Raises PurchaseUnknownError when nothing shows, but a purchase of it that was sent may still do.
    """
    bought = bought_as(owned, wanted.offering_id) or (bought_for(owned, offering) if offering else None)
    if bought:
        journal.strike(intent_tagged(bought))
        display.note(f"This block was bought already: {bought.id}, {bought.state}. Nothing was bought now.")
        return bought
    intent = intent_of(offering) if offering else ""
    if sent := journal.unsettled(now(), offering_id=wanted.offering_id, intent=intent):
        raise _unknown(
            f"It is still not known whether {sent.offering_id} was bought. Nothing was sent now.",
            f"Its purchase was sent from this machine at {sent.at:%H:%M:%S} UTC, how that ended is not known,"
            " and no such block shows in your account so far.",
            sent,
        )
    return None


def _buy(
    ec2: EC2Client, once: EC2Client, offering: Offering, wanted: Wanted, journal: Journal, sleep: Sleep, now: Clock
) -> Reservation:
    """Send the request and learn its outcome. It stays noted in the journal unless it was turned away."""
    sent = Sent(intent_of(offering), wanted.offering_id, offering.search.region, at=now())
    journal.note(sent)
    try:
        bought = _send(once, offering, wanted)
    except TorchNeuronError:  # turned away: it is certain that nothing was bought
        journal.strike(sent.intent)
        raise
    return bought or _settle(ec2, offering, sent, sleep)


def _send(once: EC2Client, offering: Offering, wanted: Wanted) -> Reservation | None:
    """Send the one request: what it bought, or None when its answer does not tell. Raises when nothing was bought."""
    try:
        with display.waiting(f"Buying {offering.id}"), calling(f"buy {offering.id}"):
            answer = once.purchase_capacity_block(
                CapacityBlockOfferingId=offering.id,
                InstancePlatform="Linux/UNIX",
                TagSpecifications=[{"ResourceType": "capacity-reservation", "Tags": _tags(offering, wanted)}],
            )
        raw = answer["CapacityReservation"]
        if not raw["CapacityReservationId"]:
            return None
        # It has an id, so it is bought. What else the answer lacks is read again while its payment is waited for.
        known: CapacityReservationTypeDef = {"State": "payment-pending", "StartDate": offering.start}
        return reservations.from_aws({**known, **raw}, offering.search.region, seen=reservations.aws_time(answer))
    except AwsError as error:
        if not _outcome_is_open(error):
            raise _not_bought(error) from error
        return None
    except InputError:  # this machine's AWS configuration: nothing was sent
        raise
    except (Exception, KeyboardInterrupt):  # whatever it was, the request may have been sent
        return None


def _settle(ec2: EC2Client, offering: Offering, sent: Sent, sleep: Sleep) -> Reservation:
    """The reservation of a purchase whose answer does not tell. Raises PurchaseUnknownError if it stays unseen.

    Not seeing it proves nothing: the request may still be under way inside AWS.
    """
    try:
        with display.waiting("AWS's answer got lost: looking whether the block was bought"):
            for pause in _LOOKS:
                sleep(pause)
                if bought := bought_for(_owned_if_readable(ec2, offering.search.region), offering):
                    return bought
    except KeyboardInterrupt:
        pass
    raise _unknown(
        f"It is not known whether {offering.id} was bought. Do not buy again before you know.",
        "The request was sent, no answer that tells came back, and no such block shows in your account so far.",
        sent,
    )


def _unknown(what: str, why: str, sent: Sent) -> PurchaseUnknownError:
    return PurchaseUnknownError(
        what,
        why=f"{why} It can still appear until {sent.settled:%H:%M:%S} UTC.",
        do=f"This shows it if it was bought:\n  {command_that_tells(sent.intent, sent.region)}\n"
        "The same invoke cb.purchase looks there first, too. It sends nothing until then; after that it takes a block"
        " that still does not show as not bought, and asks you again.",
    )


def _owned_if_readable(ec2: EC2Client, region: str) -> list[Reservation]:
    """The region's reservations, or none while they cannot be read: the next look may succeed."""
    try:
        return reservations.list_all(ec2, region)
    except AwsError:
        return []


def _look_again(ec2: EC2Client, reservation: Reservation) -> Reservation:
    try:
        return reservations.describe(ec2, reservation.region, reservation.id)
    except (UnreachableError, NotFoundError):  # just bought, it may not be visible everywhere yet
        return reservation
    except AwsError as error:
        raise PurchaseError(
            f"{reservation.id} is bought, but whether its payment went through could not be read.",
            why=error.what,
            do=f"See later: invoke cb.describe --reservation-id {reservation.id} -r {reservation.region}",
        ) from error


def _tags(offering: Offering, wanted: Wanted) -> list[TagTypeDef]:
    tags = {"Project": wanted.project, "ManagedBy": "torchneuron", **tags_for(offering, wanted.offering_id)}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _outcome_is_open(error: AwsError) -> bool:
    """Whether the request may have taken effect although this error came back."""
    cause = error.__cause__
    if isinstance(error, AccessError) or isinstance(cause, _NEVER_SENT):
        return False
    if isinstance(cause, ClientError):
        return isinstance(error, UnreachableError) and error.code not in _THROTTLED
    return True


def _not_bought(error: AwsError) -> AwsError | PurchaseError:
    if isinstance(error, AccessError):
        return AccessError(f"Nothing was bought. {error.what}", code=error.code, why=error.why, do=error.do)
    if reason := _REFUSALS.get(error.code):
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do="Search again with invoke cb.search.")
    return PurchaseError(f"Nothing was bought. {error.what}", why=error.why, do=error.do)
