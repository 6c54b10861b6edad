"""Buying a Capacity Block exactly once: there is no refund and, in EC2's API, no client token.

A repeated request would buy a second block. So the request is sent by a client that never retries, and
carries tags that say what it was for; before it, and whenever its answer is lost, the account's
reservations are searched for those tags. The last word is always one of three: bought, not bought, or
unknown with the command that will tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from torchneuron import display
from torchneuron.aws import calling
from torchneuron.capacity_blocks import offerings, reservations, shown
from torchneuron.capacity_blocks.intent import bought_as, bought_for, command_that_tells, tags_for
from torchneuron.capacity_blocks.offerings import Offering, SearchRequest
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.config import Config
from torchneuron.errors import (
    AccessError,
    AwsError,
    Declined,
    InputError,
    NotFoundError,
    PurchaseError,
    PurchaseUnknownError,
    UnreachableError,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import TagTypeDef

Sleep = Callable[[float], None]

_DEFAULT_HOURS = 24
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


@dataclass(frozen=True)
class Wanted:
    """What the person asked to buy. `shown` is the offering as a search showed it, if it is remembered.

    `start_time`, aware, must be the offering's when given. `project` goes into the block's tags.
    """

    offering_id: str
    search: SearchRequest
    project: str
    start_time: datetime | None = None
    shown: Offering | None = None


def want(
    config: Config,
    region: str,
    offering_id: str,
    *,
    start_time: str = "",
    instance_type: str = "",
    duration_hours: int = 0,
    count: int = 0,
) -> Wanted:
    """The options of `cb.purchase`, checked. What is not given is what the search that showed the offering
    asked for, else the default type, one day and one instance.

    `start_time` is ISO 8601, in UTC unless it says otherwise. Raises InputError when it is not.
    """
    if not offering_id:
        raise InputError("Which offering? --offering-id is missing.", do="Find one with invoke cb.search, by its id.")
    seen = shown.recall(config.state_dir, offering_id, region)
    search = SearchRequest(
        instance_type=instance_type or (seen.search.instance_type if seen else config.default_instance_type),
        duration_hours=duration_hours or (seen.search.duration_hours if seen else _DEFAULT_HOURS),
        count=count or (seen.search.count if seen else 1),
        region=region,
    )
    start = _parse_time(start_time) if start_time else None
    return Wanted(offering_id, search, config.project_name, start_time=start, shown=seen)


def purchase(
    ec2: EC2Client,
    once: EC2Client,
    wanted: Wanted,
    *,
    agreed: Callable[[Offering], bool],
    sleep: Sleep = time.sleep,
) -> Reservation:
    """Buy the wanted block, unless it was bought already, and wait until it is paid.

    `once` must be a client without retries (`Aws.ec2_once`). `agreed` shows the offering with its price,
    as AWS quotes it now, and returns the person's answer. The reservation returned is in state
    `payment-pending` when the payment takes longer than half an hour.

    Raises NotFoundError, InputError, AccessError and Declined before anything was bought, PurchaseError
    when it was not bought or the payment failed, PurchaseUnknownError when nobody could tell.
    """
    region = wanted.search.region
    owned = reservations.list_all(ec2, region)
    if bought := bought_as(owned, wanted.offering_id):
        return _bought_before(ec2, bought, sleep)
    offering = offerings.find(ec2, wanted.offering_id, wanted.search, wanted.shown)
    _check_unchanged(offering, wanted)
    if bought := bought_for(owned, offering):
        return _bought_before(ec2, bought, sleep)
    if not agreed(offering):
        raise Declined("Nothing was bought.")
    reservation = _buy(ec2, once, offering, wanted, sleep)
    display.note(f"Bought: {reservation.id}.")
    return wait_until_paid(ec2, reservation, sleep=sleep)


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


def _buy(ec2: EC2Client, once: EC2Client, offering: Offering, wanted: Wanted, sleep: Sleep) -> Reservation:
    """Send the one request. What comes back, or does not, decides between bought, not bought and unknown."""
    try:
        with display.waiting(f"Buying {offering.id}"), calling(f"buy {offering.id}"):
            answer = once.purchase_capacity_block(
                CapacityBlockOfferingId=offering.id,
                InstancePlatform="Linux/UNIX",
                TagSpecifications=[{"ResourceType": "capacity-reservation", "Tags": _tags(offering, wanted)}],
            )
    except AwsError as error:
        if not _outcome_is_open(error):
            raise _not_bought(error) from error
        return _settle(ec2, offering, sleep)
    except (ResponseParserError, KeyboardInterrupt):
        return _settle(ec2, offering, sleep)
    if not answer.get("CapacityReservation"):
        return _settle(ec2, offering, sleep)
    return reservations.from_aws(
        answer["CapacityReservation"], offering.search.region, seen=reservations.aws_time(answer)
    )


def _settle(ec2: EC2Client, offering: Offering, sleep: Sleep) -> Reservation:
    """The reservation of a purchase whose answer was lost. Raises PurchaseUnknownError if it stays unseen.

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
    raise PurchaseUnknownError(
        f"It is not known whether {offering.id} was bought. Do not buy again before you know.",
        why="The request was sent, its answer never came, and no such block shows in your account so far."
        " It can still appear within minutes.",
        do=f"This shows it if it was bought:\n  {command_that_tells(offering)}\n"
        "To try again once you are sure it was not, run the same invoke cb.purchase: it looks first, too.",
    )


def _owned_if_readable(ec2: EC2Client, region: str) -> list[Reservation]:
    """The region's reservations, or none while they cannot be read: the next look may succeed."""
    try:
        return reservations.list_all(ec2, region)
    except AwsError:
        return []


def _bought_before(ec2: EC2Client, reservation: Reservation, sleep: Sleep) -> Reservation:
    display.note(f"This block was bought already: {reservation.id}, {reservation.state}. Nothing was bought now.")
    return wait_until_paid(ec2, reservation, sleep=sleep)


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


def _check_unchanged(offering: Offering, wanted: Wanted) -> None:
    """Raise InputError unless the offering is the one the person decided on, and no dearer."""
    if wanted.start_time and wanted.start_time != offering.start:
        raise InputError(
            f"Offering {offering.id} does not start at {wanted.start_time:%Y-%m-%d %H:%M} UTC.",
            why=f"It starts at {offering.start:%Y-%m-%d %H:%M} UTC. Nothing was bought.",
            do=f"If that is what you want: --start-time {offering.start:%Y-%m-%dT%H:%M:%SZ}",
        )
    if wanted.shown and offering.fee > wanted.shown.fee:
        raise InputError(
            f"Offering {wanted.offering_id} has become dearer since it was shown to you. Nothing was bought.",
            why=f"Its price was {wanted.shown.fee} {wanted.shown.currency},"
            f" and is {offering.fee} {offering.currency} now.",
            do="Look again with invoke cb.search, and buy what it shows if the price is right.",
        )


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


def _parse_time(text: str) -> datetime:
    try:
        # Python 3.10 does not read the Z that AWS writes.
        parsed = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError as error:
        raise InputError(f"{text!r} is not a time.", do="Give it as ISO 8601, such as 2026-01-31T11:30:00Z.") from error
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=timezone.utc)
    return parsed.astimezone(timezone.utc)
