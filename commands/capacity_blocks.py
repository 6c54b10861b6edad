"""Capacity Blocks: `invoke cb.*`."""

from __future__ import annotations

from invoke import Context

from commands.command import command, command_of_arguments
from torchneuron.capacity_blocks.query import SearchOptions

_REGION = "AWS region (default: the settings' default region)"
_DRY_RUN = "show what would happen, and change nothing"
_RESERVATION = "the reservation's id, cr-…"


@command(SearchOptions)
def search(options: SearchOptions) -> None:
    """Find Capacity Blocks on sale that `invoke deploy` can use.

    Example: invoke cb.search -t trn2.3xlarge -d 24,48 -r all
    """
    from torchneuron.capacity_blocks import workflows

    workflows.search(options)


@command_of_arguments(
    help={
        "offering_id": "the offering, as cb.search shows it",
        "start_time": "ISO 8601; refused when it is not the offering's",
        "region": "AWS region (default: where cb.search showed the offering, else the settings' default region)",
        "yes": "do not ask",
        "no_save": "do not save the block to Parameter Store",
        "max_price": "refuse a price above this one for the whole block",
        "anyway": "buy it though a machine could not be launched on it",
        "dry_run": "ask AWS whether it is on sale and you may buy it, and buy nothing",
        "type": "instance type of an offering that cb.search did not show here (default: the settings' default type)",
        "duration": "hours of an offering that cb.search did not show here (default: 24)",
        "count": "instances of an offering that cb.search did not show here (default: 1)",
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
    anyway: bool = False,
    type: str = "",
    duration: str = "",
    count: str = "",
) -> None:
    """Buy an offering, once; then save its ids to Parameter Store."""
    from torchneuron.capacity_blocks import workflows
    from torchneuron.core.options import whole_number

    workflows.purchase(
        offering_id,
        start_time,
        region,
        yes=yes,
        save=not no_save,
        dry_run=dry_run,
        anyway=anyway,
        max_price=max_price,
        instance_type=type,
        duration_hours=whole_number("--duration", duration),
        count=whole_number("--count", count),
    )


@command_of_arguments(
    help={
        "reservation_id": _RESERVATION,
        "duration": "hours more: 24 to 336 in steps of 24, then to 4368 in steps of 168",
        "region": _REGION,
        "yes": "do not ask",
        "no_save": "do not save the new end to Parameter Store",
        "max_price": "refuse a price above this one for the whole extension",
        "dry_run": "ask AWS whether it is on sale and you may buy it, and buy nothing",
    }
)
def extend(
    context: Context,
    reservation_id: str = "",
    duration: str = "",
    region: str = "",
    yes: bool = False,
    no_save: bool = False,
    max_price: str = "",
    dry_run: bool = False,
) -> None:
    """Buy more time for a Capacity Block, once."""
    from torchneuron.capacity_blocks import workflows
    from torchneuron.core.options import whole_number

    workflows.extend(
        reservation_id,
        whole_number("--duration", duration),
        region,
        yes=yes,
        save=not no_save,
        dry_run=dry_run,
        max_price=max_price,
    )


@command_of_arguments(help={"region": _REGION, "output": "table or json"})
def list_(context: Context, region: str = "", output: str = "table") -> None:
    """Show the Capacity Blocks bought: what comes next, what runs on them, until when they can be extended."""
    from torchneuron.capacity_blocks import workflows

    workflows.list_blocks(region, output)


@command_of_arguments(help={"reservation_id": _RESERVATION, "region": _REGION, "output": "table or json"})
def describe(context: Context, reservation_id: str = "", region: str = "", output: str = "table") -> None:
    """Show one reservation in full."""
    from torchneuron.capacity_blocks import workflows

    workflows.describe(reservation_id, region, output)


@command_of_arguments(
    help={"reservation_id": _RESERVATION, "region": _REGION, "yes": "do not ask", "dry_run": _DRY_RUN}
)
def cancel(
    context: Context, reservation_id: str = "", region: str = "", yes: bool = False, dry_run: bool = False
) -> None:
    """Cancel a reservation that can be cancelled; a Capacity Block never can."""
    from torchneuron.capacity_blocks import workflows

    workflows.cancel(reservation_id, region, yes=yes, dry_run=dry_run)


@command_of_arguments(
    help={
        "reservation_id": _RESERVATION,
        "subnet_id": "a subnet in its zone (default: one with many free addresses is found)",
        "vpc_id": "the VPC to find a subnet in (default: the region's default VPC)",
        "region": _REGION,
        "dry_run": _DRY_RUN,
    }
)
def save_params(
    context: Context,
    reservation_id: str = "",
    subnet_id: str = "",
    vpc_id: str = "",
    region: str = "",
    dry_run: bool = False,
) -> None:
    """Keep a Capacity Block and a subnet in its zone in Parameter Store, for invoke deploy."""
    from torchneuron.capacity_blocks import workflows

    workflows.save_params(reservation_id, subnet_id, region, vpc_id=vpc_id, dry_run=dry_run)


@command_of_arguments(help={"region": _REGION, "output": "table, shell (for eval) or json"})
def load_params(context: Context, region: str = "", output: str = "table") -> None:
    """Show what Parameter Store keeps for a region."""
    from torchneuron.capacity_blocks import workflows

    workflows.load_params(region, output)


@command_of_arguments(
    help={
        "until": "active, or ending: 10 minutes before AWS terminates the instances",
        "reservation_id": f"{_RESERVATION} (default: the one saved for the region)",
        "region": _REGION,
    }
)
def wait(context: Context, until: str = "", reservation_id: str = "", region: str = "") -> None:
    """Wait until a Capacity Block is active, or about to end."""
    from torchneuron.capacity_blocks import workflows

    workflows.wait(until, reservation_id, region)
