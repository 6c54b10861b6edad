"""Buying a Capacity Block exactly once: there is no refund and, in EC2's API, no client token.

A repeated request would buy a second block. So the request is sent once (see `once`), and carries tags that say
what it was for; before the question, again right before the request, and whenever its answer is lost, the
account's reservations are searched for those tags. What was sent from this machine and does not show yet is in the
journal, and is not sent again. The last word is always one of three: bought, not bought, or unknown with the
command that will tell.

One purchase can make several reservations: one a zone of an offering of segments, one an UltraServer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchneuron.aws.errors import aws_time, may_pass
from torchneuron.capacity_blocks import offerings, once, reservations, turned_away
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
from torchneuron.capacity_blocks.once import Clock, Sleep
from torchneuron.capacity_blocks.reservations import NEVER_PAID, Reservation
from torchneuron.capacity_blocks.wanted import Wanted, check_unchanged
from torchneuron.core import display
from torchneuron.core import tags as project_tags
from torchneuron.core.errors import AwsError, Declined, NotFoundError, PurchaseError, PurchaseUnknownError
from torchneuron.core.text import quoted

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CapacityReservationTypeDef

Reservations = Sequence[Reservation]

_PENDING = "payment-pending"


def purchase(
    ec2: EC2Client,
    ec2_once: EC2Client,
    wanted: Wanted,
    *,
    agreed: Callable[[Offering], bool],
    sleep: Sleep,
    now: Clock = once.utc_now,
) -> Reservations:
    """Buy the wanted block, unless it was bought already, and wait until it is paid.

    `ec2_once` must be a client without retries (`Aws.ec2_once`). `agreed` shows the offering with its price,
    as AWS quotes it now, and returns the person's answer. The reservations returned, one as a rule, are in state
    `payment-pending` when the payment takes longer than half an hour.

    Raises NotFoundError, InputError, AccessError and Declined before anything was bought, PurchaseError
    when it was not bought or the payment failed, PurchaseUnknownError when nobody can tell, now or from an
    earlier purchase on this machine.
    """
    region = wanted.search.region
    journal = Journal(wanted.state_dir)
    bought, offering = _look_around(ec2, wanted, journal, now)
    if offering is None:
        return wait_until_paid(ec2, bought, sleep=sleep)
    if not agreed(offering):
        raise Declined("Nothing was bought.")
    with journal.locked():
        # A person took their time to answer: a teammate, or another terminal, may have bought it meanwhile.
        bought = _bought_before(reservations.list_all(ec2, region), wanted, journal, now, offering)
        if not bought:
            bought = _buy(ec2, ec2_once, offering, wanted, journal, sleep, now)
            display.note(f"Bought: {_ids(bought)}.")
            # Until it shows, whoever looks next finds nothing: the note keeps them from buying it again.
            if bought_for(_owned_if_readable(ec2, region), offering):
                journal.strike(intent_of(offering))
    return wait_until_paid(ec2, bought, sleep=sleep)


def try_out(ec2: EC2Client, ec2_once: EC2Client, wanted: Wanted, *, now: Clock = once.utc_now) -> Offering | None:
    """All of a purchase but the purchase: the same looks, and the same request with EC2's DryRun.

    Returns the offering that would be bought; None when it was bought already. Raises as `purchase` does.
    """
    _, offering = _look_around(ec2, wanted, Journal(wanted.state_dir), now)
    if offering:
        request = {**_request(offering, wanted), "DryRun": True}
        once.dry_run(
            f"buy {offering.id}",
            lambda: ec2_once.purchase_capacity_block(**request),
            turned_away=lambda error: turned_away.purchase(error, offering.search.what),
            tells=command_that_tells(intent_of(offering), wanted.search.region),
        )
    return offering


def wait_until_paid(ec2: EC2Client, bought: Reservations, *, sleep: Sleep) -> Reservations:
    """The reservations once their payment is settled; still `payment-pending` after half an hour.

    Raises PurchaseError when the payment failed or a reservation can no longer be read.
    """
    current = once.until_paid(
        _ids(bought),
        bought,
        is_pending=lambda some: any(one.state == _PENDING for one in some),
        look=lambda some: [_look_again(ec2, one) if one.state == _PENDING else one for one in some],
        sleep=sleep,
    )
    if unpaid := [one for one in current if one.state == "payment-failed"]:
        raise PurchaseError(
            f"{_ids(unpaid)} is lost: the payment failed.",
            why="AWS could not charge the upfront fee within 12 hours, and has released the block.",
            do="Put the account's payment method right (Billing console), then search and buy again.",
        )
    if lost := [one for one in current if one.state in NEVER_PAID]:
        raise PurchaseError(
            f"{_ids(lost)} is lost: {lost[0].outlook}.",
            why="AWS gives a reservation this state when the request, the capacity or the account's limits forbid it.",
            do="See the AWS bill whether anything was charged, and search again with invoke cb.search.",
        )
    return current


def _look_around(
    ec2: EC2Client, wanted: Wanted, journal: Journal, now: Clock
) -> tuple[list[Reservation], Offering | None]:
    """What was bought already and no offering; else nothing and the offering to ask about, as AWS quotes it now."""
    owned = reservations.list_all(ec2, wanted.search.region)
    if bought := _bought_before(owned, wanted, journal, now):
        return bought, None
    offering = offerings.find(ec2, wanted.offering_id, wanted.search, wanted.shown)
    check_unchanged(offering, wanted)
    if bought := _bought_before(owned, wanted, journal, now, offering):
        return bought, None
    return [], offering


def _bought_before(
    owned: Iterable[Reservation], wanted: Wanted, journal: Journal, now: Clock, offering: Offering | None = None
) -> list[Reservation]:
    """What of `owned` was bought as the wanted id, or for the window of `offering`.

    Raises PurchaseUnknownError when nothing shows, but a purchase of it that was sent may still do.
    """
    owned = list(owned)
    bought = bought_as(owned, wanted.offering_id) or (bought_for(owned, offering) if offering else [])
    if bought:
        journal.strike(intent_tagged(bought[0]))
        states = ", ".join(dict.fromkeys(one.state for one in bought))
        display.note(f"This block was bought already: {_ids(bought)}, {states}. Nothing was bought now.")
        return bought
    intent = intent_of(offering) if offering else ""
    if sent := journal.unsettled(now(), offering_id=wanted.offering_id, intent=intent):
        raise _unknown(
            f"It is still not known whether {sent.offering_id} was bought. Nothing was sent now.",
            f"Its purchase was sent from this machine at {sent.at:%H:%M:%S} UTC, how that ended is not known,"
            " and no such block shows in your account so far.",
            sent,
        )
    return []


def _buy(
    ec2: EC2Client, ec2_once: EC2Client, offering: Offering, wanted: Wanted, journal: Journal, sleep: Sleep, now: Clock
) -> list[Reservation]:
    """Send the request and learn its outcome. It stays noted in the journal unless it was turned away."""
    region = offering.search.region
    sent = Sent(intent_of(offering), wanted.offering_id, region, at=now())
    bought = once.send(
        f"buy {offering.id}",
        lambda: _send(ec2_once, offering, wanted),
        journal=journal,
        sent=sent,
        turned_away=lambda error: turned_away.purchase(error, offering.search.what),
    )
    bought = bought or once.settle(lambda: bought_for(_owned_if_readable(ec2, region), offering), sleep=sleep)
    if not bought:
        raise _unknown(
            f"It is not known whether {offering.id} was bought. Do not buy again before you know.",
            "The request was sent, no answer that tells came back, and no such block shows in your account so far.",
            sent,
        )
    return bought


def _send(ec2_once: EC2Client, offering: Offering, wanted: Wanted) -> list[Reservation]:
    """The one request: what it bought; nothing when its answer names no reservation."""
    # Typed loosely: the stubs don't know CapacityReservations yet.
    answer: Mapping[str, Any] = ec2_once.purchase_capacity_block(**_request(offering, wanted))
    made = [answer.get("CapacityReservation") or {}, *answer.get("CapacityReservations", [])]
    by_id = {raw["CapacityReservationId"]: raw for raw in made if raw.get("CapacityReservationId")}
    # It has an id, so it is bought. What else the answer lacks is read again while its payment is waited for.
    known: CapacityReservationTypeDef = {"State": "payment-pending", "StartDate": offering.start}
    seen = aws_time(answer)
    return [reservations.from_aws({**known, **raw}, offering.search.region, seen=seen) for raw in by_id.values()]


def _request(offering: Offering, wanted: Wanted) -> dict[str, Any]:
    tags = {**project_tags.for_project(wanted.project), **tags_for(offering, wanted.offering_id)}
    return {
        "CapacityBlockOfferingId": offering.id,
        "InstancePlatform": "Linux/UNIX",
        "TagSpecifications": [{"ResourceType": "capacity-reservation", "Tags": project_tags.to_aws(tags)}],
    }


def _unknown(what: str, why: str, sent: Sent) -> PurchaseUnknownError:
    return PurchaseUnknownError(
        what,
        why=f"{why} It can still appear until {sent.settled:%H:%M:%S} UTC.",
        do=f"This shows it if it was bought:\n  {command_that_tells(sent.intent, sent.region)}\n"
        "The same invoke cb.purchase looks there first, too. It sends nothing until then; after that it takes a block"
        " that still does not show as not bought, and buys it as if for the first time.",
    )


def _owned_if_readable(ec2: EC2Client, region: str) -> list[Reservation]:
    """The region's reservations, or none while they cannot be read: the next look may succeed."""
    try:
        return reservations.list_all(ec2, region)
    except AwsError:
        return []


def _look_again(ec2: EC2Client, reservation: Reservation) -> Reservation:
    """It as it is now, or as it was while that cannot be read. Raises PurchaseError where no later look may succeed."""
    try:
        return reservations.describe(ec2, reservation.region, reservation.id)
    except NotFoundError:  # just bought, it may not be visible everywhere yet
        return reservation
    except AwsError as error:
        if may_pass(error):
            return reservation
        raise PurchaseError(
            f"{reservation.id} is bought, but whether its payment went through could not be read.",
            why=error.what,
            do=f"See later: invoke cb.describe --reservation-id {quoted(reservation.id)} -r {reservation.region}",
        ) from error


def _ids(some: Iterable[Reservation]) -> str:
    return ", ".join(one.id for one in some)
