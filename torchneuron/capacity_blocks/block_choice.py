"""The Capacity Block a deploy launches on: the one named, else the saved one, else another with free instances.

EC2 lists every block of the account. Parameter Store has the current one, with its subnet, for plain `cdktf deploy`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import reservations, saved_block
from torchneuron.capacity_blocks.reservations import GONE, Reservation
from torchneuron.capacity_blocks.saved_block import SavedBlock
from torchneuron.connectivity import subnets
from torchneuron.core import display
from torchneuron.core.config import Deployment
from torchneuron.core.errors import InputError, NotFoundError, TorchNeuronError
from torchneuron.core.text import duration, quoted

SOON = timedelta(hours=24)
"""A block that starts within this time makes an on-demand launch ask for a choice."""


@dataclass(frozen=True)
class Place:
    """A Capacity Block, and the subnet in its zone to launch instances in."""

    reservation_id: str
    subnet_id: str


def choose(aws: Aws, deployment: Deployment, *, launching: int) -> Place:
    """The block and the subnet for `launching` more instances.

    Raises InputError or NotFoundError if there is none, with every block that can be used and its command.
    """
    saved, not_saved = _saved(aws, deployment)
    named = deployment.capacity_reservation_id or _best(aws, deployment, saved, launching)
    try:
        if not named:
            raise not_saved or NotFoundError(f"No Capacity Block is saved for {aws.region}.")
        block = reservations.describe(aws.ec2(), aws.region, named)
        _check_block(block, deployment)
        subnet_id = deployment.subnet_id or _subnet_for(aws, block, saved)
        _check_zone(aws, block, subnet_id)
        _check_room(block, launching)
    except (InputError, NotFoundError) as error:
        raise _with_others(error, aws, deployment, named, launching) from error
    return Place(block.id, subnet_id)


def can_launch(block: Reservation, instance_type: str, count: int = 1) -> bool:
    """Whether `count` instances of the type can be launched on the block now."""
    is_ready = block.is_block and block.state == "active" and not block.is_reclaimed
    return is_ready and block.instance_type == instance_type and block.available >= count


def fitting(blocks: Iterable[Reservation], instance_type: str) -> list[Reservation]:
    """The blocks on which an instance of the type can be launched now, or that start within a day."""
    return [block for block in blocks if can_launch(block, instance_type) or _starts_soon(block, instance_type)]


def require_launch_choice(aws: Aws, instance_type: str) -> None:
    """Raise InputError if a paid block matches a launch without --use-capacity-block or --on-demand."""
    found = fitting(reservations.list_blocks(aws.ec2(), aws.region), instance_type)
    if not found:
        return
    is_ready = any(can_launch(block, instance_type) for block in found)
    wait = "" if is_ready else f"{_wait_for(found[0])} && "
    deploy = f"invoke deploy -t {quoted(instance_type)} -r {aws.region}"
    raise InputError(
        f"You have a Capacity Block for {instance_type}: choose between it and on demand.",
        why="\n".join([*(f"  {_described(block)}" for block in found), "Nothing was changed."]),
        do=f"On the block:\n  {wait}{deploy} --use-capacity-block\n"
        f"On demand, which costs extra:\n  {deploy} --on-demand",
    )


def current_id(aws: Aws) -> str:
    """The id of the saved block, or of the block that starts next once the saved one is over.

    Raises NotFoundError when none is saved.
    """
    saved = saved_block.load(aws.ssm(), aws.region).reservation_id
    if not is_over(aws, saved):
        return saved
    blocks = reservations.list_blocks(aws.ec2(), aws.region)
    return next((block.id for block in blocks if not block.is_over), saved)


def is_over(aws: Aws, reservation_id: str) -> bool:
    """Whether no instance can run on the block any more, or it does not exist."""
    try:
        return reservations.describe(aws.ec2(), aws.region, reservation_id).is_over
    except NotFoundError:
        return True


def saved_block_to_keep(aws: Aws, bought: Reservation) -> Reservation | None:
    """The saved block if it is usable before `bought` is, so that a purchase does not replace it."""
    saved = saved_block.saved_id(aws.ssm(), aws.region)
    if saved in ("", bought.id):
        return None
    try:
        block = reservations.describe(aws.ec2(), aws.region, saved)
    except NotFoundError:
        return None
    return block if block.is_block and not block.is_over and block.start <= bought.start else None


def save_current(aws: Aws, project: str, place: Place) -> None:
    """Save the block in use as the current one if the saved one is over. A failure is a warning."""
    try:
        saved = saved_block.saved_id(aws.ssm(), aws.region)
        if saved in ("", place.reservation_id) or not is_over(aws, saved):
            return
        saved_block.save(aws.ec2(), aws.ssm(), aws.region, place.reservation_id, place.subnet_id, project=project)
    except TorchNeuronError as error:
        display.warn(f"{place.reservation_id} is not saved as the current block of {aws.region}. {error.what}")
        return
    display.note(f"{place.reservation_id} is saved as the current block of {aws.region}.")


def _saved(aws: Aws, deployment: Deployment) -> tuple[SavedBlock | None, NotFoundError | None]:
    """The saved block, or the error if none is saved; neither if the deployment names block and subnet."""
    if deployment.capacity_reservation_id and deployment.subnet_id:
        return None, None
    try:
        return saved_block.load(aws.ssm(), aws.region), None
    except NotFoundError as error:
        return None, error


def _best(aws: Aws, deployment: Deployment, saved: SavedBlock | None, launching: int) -> str:
    """The id of the saved block if the instances can be launched on it, else of the one with the latest end.

    If there is none, the saved block, so that the error is about it; empty if none is saved.
    """
    zone = ""
    if deployment.subnet_id:
        zone = subnets.zone_of(aws.ec2(), aws.region, deployment.subnet_id, do="Name another with --subnet-id.")
    ready = [
        block
        for block in reservations.list_blocks(aws.ec2(), aws.region)
        if can_launch(block, deployment.instance_type, launching) and zone in ("", block.zone)
    ]
    by_end = sorted(ready, key=lambda block: (block.end is not None, block.end, block.id), reverse=True)
    current = saved.reservation_id if saved else ""
    if current in {block.id for block in ready} or not ready:
        return current
    display.note(f"Using the Capacity Block {by_end[0].id}: {by_end[0].outlook}.")
    return by_end[0].id


def _subnet_for(aws: Aws, block: Reservation, saved: SavedBlock | None) -> str:
    if saved and saved.reservation_id == block.id:
        return saved.subnet_id
    return subnets.find(aws.ec2(), aws.region, zone=block.zone, user=block.id)


def _check_block(block: Reservation, deployment: Deployment) -> None:
    """Raise InputError unless the block is an active Capacity Block for the deployment's type."""
    if not block.is_block:
        raise InputError(
            f"{block.id} is an on-demand reservation, not a Capacity Block.",
            why="EC2 does not launch Capacity Block instances on it.",
            do="List your blocks with invoke cb.list. EC2 uses an open reservation without --use-capacity-block.",
        )
    _check_time(block)
    if block.instance_type != deployment.instance_type:
        raise InputError(
            f"The Capacity Block {block.id} is for {block.instance_type}, not {deployment.instance_type}.",
            do=f"Add -t {quoted(block.instance_type)}, or name another block.",
        )


def _check_time(block: Reservation) -> None:
    if block.state != "active":
        another = f"Find one on sale: invoke cb.search -r {block.region}. Or list your blocks: invoke cb.list."
        raise InputError(
            f"The Capacity Block {block.id} is {block.state}, not active.",
            why=f"{block.outlook[:1].upper()}{block.outlook[1:]}. EC2 launches instances on an active block only.",
            do=another if block.state in GONE else f"Wait for it: {_wait_for(block)}",
        )
    if block.is_reclaimed and block.end:
        raise InputError(
            f"The Capacity Block {block.id} can no longer be used: AWS terminates its instances.",
            why=f"It ends in {duration(block.end - block.seen)}.",
            do="Name another block, or extend this one next time: invoke cb.extend.",
        )


def _check_zone(aws: Aws, block: Reservation, subnet_id: str) -> None:
    """Raise InputError for a subnet outside the block's zone."""
    way_out = "Name another with --subnet-id, or save the block again: invoke cb.save-params."
    zone = subnets.zone_of(aws.ec2(), aws.region, subnet_id, do=way_out)
    if zone != block.zone:
        raise InputError(
            f"The subnet {subnet_id} is in {zone}, and the Capacity Block {block.id} is in {block.zone}.",
            why="Instances on a Capacity Block need a subnet in the block's zone.",
            do=f"Name a subnet in {block.zone} with --subnet-id, or save the block with another one: "
            f"invoke cb.save-params --reservation-id {quoted(block.id)} -r {aws.region}",
        )


def _check_room(block: Reservation, launching: int) -> None:
    if block.available < launching:
        raise InputError(
            f"The Capacity Block {block.id} has room for {block.available} of the {launching} instances to launch.",
            why=f"It has {block.count} in total. See what runs: invoke cb.describe --reservation-id {quoted(block.id)}"
            f" -r {block.region}",
            do="Terminate some, name another block, or deploy fewer with --count.",
        )


def _with_others(
    error: InputError | NotFoundError, aws: Aws, deployment: Deployment, refused: str, launching: int
) -> TorchNeuronError:
    """The error, with the other blocks that can be used and their commands."""
    lines = []
    for block in reservations.list_blocks(aws.ec2(), aws.region):
        if block.id == refused:
            continue
        if can_launch(block, deployment.instance_type, launching):
            lines += [f"  {_described(block)}", f"    {_deploy_on(block)}"]
        elif _is_upcoming(block) and block.instance_type == deployment.instance_type:
            lines += [f"  {_described(block)}", f"    {_wait_for(block)} && {_deploy_on(block)}"]
    if not lines:
        return error
    do = "\n".join([*filter(None, [error.do]), "Other blocks that can be used:", *lines])
    return type(error)(error.what, why=error.why, do=do)


def _described(block: Reservation) -> str:
    room = f"{block.available} of {block.count} free" if block.is_open else f"for {block.count}"
    return f"{block.id}: {block.instance_type} in {block.zone}, {block.state}, {room}, {block.outlook}"


def _deploy_on(block: Reservation) -> str:
    return (
        f"invoke deploy --use-capacity-block --capacity-reservation-id {quoted(block.id)}"
        f" -t {quoted(block.instance_type)} -r {block.region}"
    )


def _wait_for(block: Reservation) -> str:
    return f"invoke cb.wait --until active --reservation-id {quoted(block.id)} -r {block.region}"


def _is_upcoming(block: Reservation) -> bool:
    return not (block.is_over or block.is_open)


def _starts_soon(block: Reservation, instance_type: str) -> bool:
    return _is_upcoming(block) and block.instance_type == instance_type and block.start - block.seen <= SOON
