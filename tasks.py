"""The commands: `invoke --list`. Each body parses, calls the library, and shows; nothing more.

The library is imported inside the bodies, so that listing and help answer at once. Everything a
command can fail with ends here, as one message and an exit status: 2 for what was refused before
anything changed, 3 for a purchase whose outcome is unknown, 130 for Ctrl-C, 1 otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from invoke import Collection, Context, Exit, task

from torchneuron.errors import TorchNeuronError


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """An Invoke task whose failures are told as the module's docstring says."""

    def wrap(body: Callable[..., None]) -> Any:
        @functools.wraps(body)
        def told(*args: Any, **kwargs: Any) -> None:
            try:
                body(*args, **kwargs)
            except TorchNeuronError as error:
                from torchneuron import display

                display.show_error(error)
                raise Exit(code=error.exit_status) from None
            except KeyboardInterrupt:
                raise Exit(message="Interrupted. The same command takes up where it stopped.", code=130) from None

        return task(**options)(told)

    return wrap


@command(help={"region": "AWS region (default: the settings' default region)"})
def bootstrap(context: Context, region: str = "") -> None:
    """Make the S3 bucket for Terraform's state, and write it into the settings."""
    from torchneuron import jobs

    jobs.bootstrap(region)


@command(
    iterable=["allowed_ip"],
    help={
        "type": "instance type, such as trn2.3xlarge",
        "region": "AWS region",
        "use_capacity_block": "launch on the Capacity Block saved in Parameter Store, or the one named",
        "capacity_reservation_id": "the block's reservation id, instead of the saved one",
        "subnet_id": "the subnet, instead of the saved or default one",
        "volume_size": "root volume, GiB",
        "allowed_ip": "CIDR that may reach nginx; repeat for several (default: no inbound port is open)",
        "skip_setup": "deploy only; set code-server up later with invoke setup",
        "show_info": "only show what is deployed",
        "destroy": "only remove what is deployed",
        "allow_replace": "let the deploy replace or delete a running machine",
        "yes": "do not ask before removing",
    },
)
def deploy(
    context: Context,
    type: str = "",
    region: str = "",
    use_capacity_block: bool = False,
    capacity_reservation_id: str = "",
    subnet_id: str = "",
    volume_size: str = "",
    allowed_ip: list[str] | None = None,
    skip_setup: bool = False,
    show_info: bool = False,
    destroy: bool = False,
    allow_replace: bool = False,
    yes: bool = False,
) -> None:
    """Deploy the machine, then set code-server up on it."""
    from torchneuron import jobs
    from torchneuron.options import whole_number

    if show_info or destroy:
        jobs.look_or_remove(region, destroy=destroy, yes=yes)
        return
    given = {
        "instanceType": type,
        "region": region,
        "useCapacityBlock": use_capacity_block,
        "capacityReservationId": capacity_reservation_id,
        "subnetId": subnet_id,
        "volumeSize": whole_number("--volume-size", volume_size),
        "allowedIps": list(allowed_ip or ()),
    }
    overrides = {name: value for name, value in given.items() if value}
    jobs.deploy_and_set_up(overrides, skip_setup=skip_setup, allow_replace=allow_replace)


@command(help={"region": "AWS region"})
def info(context: Context, region: str = "") -> None:
    """Show what is deployed and how to reach it."""
    from torchneuron import jobs

    jobs.look_or_remove(region, destroy=False, yes=False)


@command(help={"region": "AWS region"})
def password(context: Context, region: str = "") -> None:
    """Print the password of what is deployed, from Secrets Manager."""
    from torchneuron import jobs

    jobs.show_password(region)


@command(help={"region": "AWS region", "yes": "do not ask"})
def destroy(context: Context, region: str = "", yes: bool = False) -> None:
    """Remove what is deployed, after showing it and asking."""
    from torchneuron import jobs

    jobs.look_or_remove(region, destroy=True, yes=yes)


_RUN_HELP = {
    "instance_id": "the EC2 instance; any that Systems Manager manages (default: the deployed one)",
    "region": "AWS region",
    "start_from": "start at the task with this id, or whose id starts with it",
    "dry_run": "show what would run, and touch nothing",
    "clean_state": "forget what has finished and begin again",
    "wait": "wait, up to 10 minutes, until Systems Manager reaches the instance",
}


@command(
    optional=["password"],
    help={
        **_RUN_HELP,
        "secret_arn": "Secrets Manager secret with the password (default: the deployment's own)",
        "password": "the password; asked for when no value is given",
        "random_password": "make a password, and show it once",
    },
)
def setup(
    context: Context,
    instance_id: str = "",
    region: str = "",
    secret_arn: str = "",
    password: str = "",
    random_password: bool = False,
    start_from: str = "",
    dry_run: bool = False,
    clean_state: bool = False,
    wait: bool = False,
) -> None:
    """Set code-server up on an instance; takes up where an earlier run stopped."""
    from torchneuron import jobs
    from torchneuron.code_server import RunOptions

    source = jobs.PasswordSource(secret_arn, password, random_password)
    options = RunOptions(instance_id, start_from, dry_run, clean_state, wait)
    jobs.set_up(region, options, source)


@command(
    iterable=["var"],
    help={
        **_RUN_HELP,
        "file": "the task file (JSON)",
        "var": "NAME=VALUE for one of the file's variables; repeatable",
    },
)
def run_tasks(
    context: Context,
    file: str,
    instance_id: str = "",
    region: str = "",
    var: list[str] | None = None,
    start_from: str = "",
    dry_run: bool = False,
    clean_state: bool = False,
    wait: bool = False,
) -> None:
    """Run any task file on an instance, as setup runs its own."""
    from torchneuron import jobs
    from torchneuron.code_server import RunOptions

    options = RunOptions(instance_id, start_from, dry_run, clean_state, wait)
    jobs.run_tasks(region, options, file, list(var or ()))


@command(help={"once": "verify the login and end, instead of staying up until Ctrl-C"})
def rehearse(context: Context, once: bool = False) -> None:
    """The whole main job against a rehearsal AWS on this machine."""
    import os
    import sys

    from torchneuron.config import PROJECT_ROOT

    # In this process's place: Ctrl-C is then the rehearsal's own, and it cleans up after itself.
    os.chdir(PROJECT_ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "rehearsal.rehearse", *(["--once"] if once else [])])


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


cb = Collection("cb", search, purchase, describe, cancel, save_params, load_params)
cb.add_task(list_, "list")
namespace = Collection(bootstrap, deploy, info, password, destroy, setup, run_tasks, rehearse, cb)
