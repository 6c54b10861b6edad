"""Cancelling a reservation where AWS does that at all, and the truth about a Capacity Block, which it never cancels.

Source: EC2 API reference, CancelCapacityReservation; EC2 user guide, "Capacity Blocks for ML" (nothing is refunded,
moved or split) and "Share Capacity Blocks" (which ones, and with whom).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.capacity_blocks import details, reservations
from torchneuron.capacity_blocks.details import Unreadable
from torchneuron.capacity_blocks.extensions import FAILED, Extension
from torchneuron.capacity_blocks.once import DRY_RUN_WOULD_WORK
from torchneuron.capacity_blocks.reservations import GONE, NEVER_PAID, Reservation
from torchneuron.core.errors import AccessError, AwsError, Declined, TorchNeuronError
from torchneuron.core.text import duration, either, price, quoted, when

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


class NeverCancelledError(TorchNeuronError):
    """It is a Capacity Block: nothing was changed, and nothing can be."""


def cancel(
    ec2: EC2Client, region: str, reservation_id: str, *, agreed: Callable[[Reservation], bool]
) -> tuple[Reservation, bool]:
    """Cancel an on-demand reservation once `agreed` says yes.

    Returns it as it is then, and whether this did it: what has ended already is left alone, without a question.
    Raises NeverCancelledError, after calls that describe only, for a Capacity Block; Declined after a no;
    NotFoundError, AccessError and AwsError as AWS refuses.
    """
    reservation = _cancellable(ec2, region, reservation_id)
    if reservation.state in GONE:
        return reservation, False
    if not agreed(reservation):
        raise Declined(f"{reservation_id} was not cancelled.")
    try:
        with calling(f"cancel {reservation_id}"):
            ec2.cancel_capacity_reservation(CapacityReservationId=reservation_id)
    except AccessError:
        raise
    except AwsError as error:
        # Refused because it has ended meanwhile, or because the answer was lost and the client asked again: as wanted.
        after = _look_after(ec2, reservation, "may have been cancelled")
        if after.state not in GONE:
            raise _refused(after, error) from error
        return after, True
    return _look_after(ec2, reservation, "was cancelled"), True


def try_out(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    """All of a cancellation but itself: the same look, and the same request with EC2's DryRun. Raises as `cancel`."""
    reservation = _cancellable(ec2, region, reservation_id)
    if reservation.state not in GONE:
        try:
            with calling(f"cancel {reservation_id}"):
                ec2.cancel_capacity_reservation(CapacityReservationId=reservation_id, DryRun=True)
        except AwsError as error:
            if error.code != DRY_RUN_WOULD_WORK:
                raise
    return reservation


def _cancellable(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    reservation = reservations.describe(ec2, region, reservation_id)
    if reservation.is_block:
        raise _never(reservation, details.extensions_of(ec2, reservation))
    return reservation


def _look_after(ec2: EC2Client, reservation: Reservation, done: str) -> Reservation:
    """The reservation as it is after the request, of which `done` is known. Raises AwsError, saying so, without it."""
    try:
        return reservations.describe(ec2, reservation.region, reservation.id)
    except TorchNeuronError as error:
        raise AwsError(
            f"{reservation.id} {done}, but could not be looked at again.",
            why=error.what,
            do=f"See it later: invoke cb.describe --reservation-id {quoted(reservation.id)} -r {reservation.region}",
        ) from error


def _refused(reservation: Reservation, error: AwsError) -> AwsError:
    quote = (
        "A future-dated reservation needs a cancellation quote, which has a price, before its start and during its"
        " commitment: see the EC2 console under Capacity Reservations."
    )
    return AwsError(
        f"{reservation.id} was not cancelled: it is {reservation.state}.",
        code=error.code,
        why=error.why,
        do=quote if error.code == "OperationNotPermitted" or reservation.state == "scheduled" else error.do,
    )


def _never(block: Reservation, made: tuple[Extension, ...] | Unreadable) -> NeverCancelledError:
    return NeverCancelledError(
        f"{block.id} is a Capacity Block, and AWS never cancels one: nothing was changed.",
        why=f"{_paid(block, made)}\n{_remaining(block)}".strip(),
        do=_instead(block),
    )


def _paid(block: Reservation, made: tuple[Extension, ...] | Unreadable) -> str:
    """What was paid, in a sentence or two; empty where the outlook says that nothing was."""
    fee = block.fee
    if block.state in NEVER_PAID:
        return ""
    if block.state == "payment-pending":
        return (
            f"Its payment{f' ({fee})' if fee else ''} is under way: AWS tries for up to 12 hours, and releases the"
            " block only if that fails. Nothing is refunded once it is through."
        )
    if isinstance(made, Unreadable):
        extended = f" Whether extensions were paid for, too, is {made}."
    else:
        charged = [one for one in made if one.status != FAILED]
        extended = "".join(f" Its extension to {when(one.end)}: {price(one.fee, one.currency)}." for one in charged)
    paid = f"Paid: {fee}, in full, when it was bought." if fee else "It is paid in full: see the AWS bill."
    return f"{paid}{extended} AWS refunds nothing, and it cannot be moved or made smaller."


def _remaining(block: Reservation) -> str:
    """What of the block can still be used, in a sentence."""
    until = block.reclaimed
    if block.is_over or until is None:
        return f"Nothing of it remains usable. Now: {block.outlook}."
    if block.seen < block.start:
        return (
            f"All of it remains usable: it starts in {duration(block.start - block.seen)}, and instances can"
            f" run on it for {duration(until - block.start)}, until {when(until)}."
        )
    now = "" if block.state == "active" else f" Now: {block.outlook}."
    return (
        f"{duration(until - block.seen)} of it remain usable, until {when(until)}:"
        f" then AWS begins to terminate the instances.{now}"
    )


def _instead(block: Reservation) -> str:
    """What can be done with the block; empty when it is over."""
    if block.is_over:
        return ""
    named = f"--reservation-id {quoted(block.id)} -r {block.region}"
    lines = ["Use it:", f"  invoke cb.save-params {named}"]
    if block.state != "active":
        lines.append(f"  invoke cb.wait --until active {named}")
    lines.append(f"  invoke deploy --use-capacity-block -t {quoted(block.instance_type)} -r {block.region}")
    return "\n".join([*lines, *_sharing(block)])


def _sharing(block: Reservation) -> list[str]:
    """How to give it to others. AWS shares what is scheduled or active, within the organization, no UltraServers."""
    if block.is_ultraserver:
        return ["AWS does not let a block of UltraServers be shared."]
    shared = ("scheduled", "active")
    not_yet = "" if block.state in shared else f", once it is {either(shared)}"
    arn = block.arn or f"arn:aws:ec2:{block.region}:{block.owner or 'OWNER-ID'}:capacity-reservation/{block.id}"
    return [
        f"Or share it with another account of your AWS Organization{not_yet}:",
        f"  aws ram create-resource-share --region {block.region} --name {quoted(block.id)}"
        f" --resource-arns {quoted(arn)} --principals ACCOUNT-ID",
    ]
