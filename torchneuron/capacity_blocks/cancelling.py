"""Cancelling an on-demand reservation, and why a Capacity Block cannot be cancelled.

Source: EC2 API reference, CancelCapacityReservation; EC2 user guide, "Capacity Blocks for ML" (blocks are not refunded,
moved or split) and "Share Capacity Blocks".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.capacity_blocks import details, reservations
from torchneuron.capacity_blocks.details import Unreadable
from torchneuron.capacity_blocks.extensions import FAILED, Extension
from torchneuron.capacity_blocks.once import DRY_RUN_SUCCEEDED
from torchneuron.capacity_blocks.reservations import GONE, NEVER_PAID, PAYMENT_PENDING, Reservation
from torchneuron.core.errors import AccessError, AwsError, Declined, TorchNeuronError
from torchneuron.core.text import duration, either, price, quoted, when

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


class NotCancellableError(TorchNeuronError):
    """The reservation is a Capacity Block. Nothing was changed."""


def cancel(
    ec2: EC2Client, region: str, reservation_id: str, *, approve: Callable[[Reservation], bool]
) -> tuple[Reservation, bool]:
    """Cancel an on-demand reservation, unless it has ended already.

    Returns the reservation afterwards, and whether this call changed it. Raises NotCancellableError for a Capacity
    Block, Declined when `approve` returns false, and NotFoundError, AccessError and AwsError.
    """
    reservation = _describe_cancellable(ec2, region, reservation_id)
    if reservation.state in GONE:
        return reservation, False
    if not approve(reservation):
        raise Declined(f"{reservation_id} was not cancelled.")
    try:
        with calling(f"cancel {reservation_id}"):
            ec2.cancel_capacity_reservation(CapacityReservationId=reservation_id)
    except AccessError:
        raise
    except AwsError as error:
        # AWS also refuses when it ended in the meantime, or when the client retried after a lost response.
        after = _describe_after(ec2, reservation, "may have been cancelled")
        if after.state not in GONE:
            raise _refused(after, error) from error
        return after, True
    return _describe_after(ec2, reservation, "was cancelled"), True


def try_out(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    """Do a cancellation with EC2's DryRun. Raises as `cancel` does."""
    reservation = _describe_cancellable(ec2, region, reservation_id)
    if reservation.state not in GONE:
        try:
            with calling(f"cancel {reservation_id}"):
                ec2.cancel_capacity_reservation(CapacityReservationId=reservation_id, DryRun=True)
        except AwsError as error:
            if error.code != DRY_RUN_SUCCEEDED:
                raise
    return reservation


def _describe_cancellable(ec2: EC2Client, region: str, reservation_id: str) -> Reservation:
    reservation = reservations.describe(ec2, region, reservation_id)
    if reservation.is_block:
        raise _not_cancellable(reservation, details.extensions_of(ec2, reservation))
    return reservation


def _describe_after(ec2: EC2Client, reservation: Reservation, outcome: str) -> Reservation:
    """The reservation after the request. Raises AwsError, with the request's `outcome`, when it cannot be read."""
    try:
        return reservations.describe(ec2, reservation.region, reservation.id)
    except TorchNeuronError as error:
        raise AwsError(
            f"{reservation.id} {outcome}, but its state could not be read.",
            why=error.what,
            do=f"Check it later: invoke cb.describe --reservation-id {quoted(reservation.id)} -r {reservation.region}",
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


def _not_cancellable(block: Reservation, bought: tuple[Extension, ...] | Unreadable) -> NotCancellableError:
    return NotCancellableError(
        f"{block.id} is a Capacity Block, which AWS never cancels. Nothing was changed.",
        why=f"{_payment(block, bought)}\n{_remaining_use(block)}".strip(),
        do=_alternatives(block),
    )


def _payment(block: Reservation, bought: tuple[Extension, ...] | Unreadable) -> str:
    """What was paid; empty when nothing was, which the outlook says."""
    fee = block.fee
    if block.state in NEVER_PAID:
        return ""
    if block.state == PAYMENT_PENDING:
        return (
            f"Its payment{f' ({fee})' if fee else ''} is pending: AWS tries for up to 12 hours, and releases the block"
            " only if that fails. Once paid, it is not refunded."
        )
    if isinstance(bought, Unreadable):
        extended = f" Payments for extensions are {bought}."
    else:
        charged = [extension for extension in bought if extension.status != FAILED]
        extended = "".join(
            f" Its extension to {when(extension.end)}: {price(extension.fee, extension.currency)}."
            for extension in charged
        )
    paid = f"Paid: {fee}, in full, when it was bought." if fee else "It is paid in full: see the AWS bill."
    return f"{paid}{extended} AWS gives no refund, and the block cannot be moved or made smaller."


def _remaining_use(block: Reservation) -> str:
    until = block.reclaimed
    if block.is_over or until is None:
        return f"It can no longer be used. Now: {block.outlook}."
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


def _alternatives(block: Reservation) -> str:
    """The commands that use or share the block; empty when it is over."""
    if block.is_over:
        return ""
    reservation_options = f"--reservation-id {quoted(block.id)} -r {block.region}"
    lines = ["Use it:", f"  invoke cb.save-params {reservation_options}"]
    if block.state != "active":
        lines.append(f"  invoke cb.wait --until active {reservation_options}")
    lines.append(f"  invoke deploy --use-capacity-block -t {quoted(block.instance_type)} -r {block.region}")
    return "\n".join([*lines, *_sharing(block)])


def _sharing(block: Reservation) -> list[str]:
    """How to share it. AWS shares scheduled and active blocks, within the organization, but not UltraServers."""
    if block.is_ultraserver:
        return ["AWS does not share blocks of UltraServers."]
    shareable = ("scheduled", "active")
    not_yet = "" if block.state in shareable else f", once it is {either(shareable)}"
    arn = block.arn or f"arn:aws:ec2:{block.region}:{block.owner or 'OWNER-ID'}:capacity-reservation/{block.id}"
    return [
        f"Or share it with another account of your AWS Organization{not_yet}:",
        f"  aws ram create-resource-share --region {block.region} --name {quoted(block.id)}"
        f" --resource-arns {quoted(arn)} --principals ACCOUNT-ID",
    ]
