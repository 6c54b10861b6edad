"""Capacity Blocks: `invoke cb.*`."""

from __future__ import annotations

from invoke import Context

from commands.command import command

_REGION = "AWS region (default: the settings' default region)"
_RESERVATION = "the reservation's id, cr-…"


@command(
    help={
        "type": "instance type (default: the settings' default type)",
        "duration": "hours: 24 to 336 in steps of 24, then to 4368 in steps of 168",
        "region": _REGION,
        "count": "instances in the block, at most 64",
    }
)
def search(context: Context, type: str = "", duration: str = "24", region: str = "", count: str = "1") -> None:
    """Find Capacity Block offerings that can be bought."""
    from torchneuron.capacity_blocks import commands
    from torchneuron.options import whole_number

    commands.search(type, whole_number("--duration", duration), region, whole_number("--count", count))


@command(
    help={
        "offering_id": "the offering, as cb.search shows it",
        "start_time": "ISO 8601; refused when it is not the offering's",
        "region": _REGION,
        "yes": "do not ask",
        "no_save": "do not save the block to Parameter Store",
        "max_price": "refuse a price above this one for the whole block",
        "dry_run": "ask AWS whether it would sell it, and buy nothing",
        "type": "instance type of an offering that cb.search did not show here",
        "duration": "hours of an offering that cb.search did not show here",
        "count": "instances of an offering that cb.search did not show here",
    }
)
def purchase(
    context: Context,
    offering_id: str = "",
    start_time: str = "",
    region: str = "",
    yes: bool = False,
    no_save: bool = False,
    max_price: str = "",
    dry_run: bool = False,
    type: str = "",
    duration: str = "",
    count: str = "",
) -> None:
    """Buy an offering, once; then save its ids to Parameter Store."""
    from torchneuron.capacity_blocks import commands
    from torchneuron.options import whole_number

    commands.purchase(
        offering_id,
        start_time,
        region,
        yes=yes,
        save=not no_save,
        dry_run=dry_run,
        max_price=max_price,
        instance_type=type,
        duration_hours=whole_number("--duration", duration),
        count=whole_number("--count", count),
    )


@command(help={"region": _REGION})
def list_(context: Context, region: str = "") -> None:
    """Show the Capacity Blocks bought."""
    from torchneuron.capacity_blocks import commands

    commands.list_blocks(region)


@command(help={"reservation_id": _RESERVATION, "region": _REGION})
def describe(context: Context, reservation_id: str = "", region: str = "") -> None:
    """Show one reservation in full."""
    from torchneuron.capacity_blocks import commands

    commands.describe(reservation_id, region)


@command(help={"reservation_id": _RESERVATION, "region": _REGION, "yes": "do not ask"})
def cancel(context: Context, reservation_id: str = "", region: str = "", yes: bool = False) -> None:
    """Cancel a reservation that can be cancelled; a Capacity Block never can."""
    from torchneuron.capacity_blocks import commands

    commands.cancel(reservation_id, region, yes=yes)


@command(
    help={
        "reservation_id": _RESERVATION,
        "subnet_id": "a subnet in its zone (default: one of the default VPC's)",
        "region": _REGION,
    }
)
def save_params(context: Context, reservation_id: str = "", subnet_id: str = "", region: str = "") -> None:
    """Keep a reservation and its subnet in Parameter Store, for invoke deploy."""
    from torchneuron.capacity_blocks import commands

    commands.save_params(reservation_id, subnet_id, region)


@command(help={"region": _REGION, "output": "text, or shell for eval"})
def load_params(context: Context, region: str = "", output: str = "text") -> None:
    """Show what Parameter Store keeps for a region."""
    from torchneuron.capacity_blocks import commands

    commands.load_params(region, output)
