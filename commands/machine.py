"""The machine: `invoke bootstrap`, `deploy`, `info`, `password`, `destroy`, `rehearse`."""

from __future__ import annotations

from typing import Any

from invoke import Context

from commands.command import command

_DRY_RUN = "show what would happen, and change nothing"


@command(help={"region": "AWS region (default: the settings' default region)", "dry_run": _DRY_RUN})
def bootstrap(context: Context, region: str = "", dry_run: bool = False) -> None:
    """Make the S3 bucket for Terraform's state, and write it into the settings."""
    from torchneuron.deploy import lifecycle

    lifecycle.bootstrap(region, dry_run=dry_run)


@command(
    iterable=["allowed_ip"],
    help={
        "type": "instance type, such as trn2.3xlarge (default: as before, at first the settings')",
        "region": "AWS region",
        "use_capacity_block": "launch on the Capacity Block saved in Parameter Store, or the one named",
        "capacity_reservation_id": "the block's reservation id, instead of the saved one",
        "subnet_id": "the subnet, instead of the saved or default one",
        "on_demand": "launch on demand, though there is a Capacity Block or an earlier deploy used one",
        "count": "how many machines (default: as before, at first 1)",
        "volume_size": "root volume, GiB (default: as before, at first the settings')",
        "data_volume_size": "a volume of its own for the home folder, GiB, which outlives the machine (default: none)",
        "allowed_ip": "CIDR that may reach nginx; repeat for several (default: as before, at first no port is open)",
        "closed": "open no port any more",
        "open_to_world": "let --allowed-ip be everyone, 0.0.0.0/0 or ::/0; needs HTTPS (tls in the settings)",
        "refresh_ami": "replace machines that run an older AMI than the newest; data volumes stay",
        "skip_setup": "deploy only; set code-server up later with invoke setup",
        "show_info": "only show what is deployed",
        "destroy": "only remove what is deployed",
        "allow_replace": "let the deploy replace or delete a running machine or a data volume",
        "release_data": "leave the data volumes where they are, and make them no more a part of this deployment",
        "delete_data": "with --destroy: remove the data volumes, too",
        "yes": "do not ask: before an on-demand launch, or with --destroy before removing",
        "dry_run": "check and plan, show what would change or be lost, and change nothing",
    },
)
def deploy(
    context: Context,
    type: str = "",
    region: str = "",
    use_capacity_block: bool = False,
    capacity_reservation_id: str = "",
    on_demand: bool = False,
    subnet_id: str = "",
    count: str = "",
    volume_size: str = "",
    data_volume_size: str = "",
    allowed_ip: list[str] | None = None,
    closed: bool = False,
    open_to_world: bool = False,
    refresh_ami: bool = False,
    skip_setup: bool = False,
    show_info: bool = False,
    destroy: bool = False,
    delete_data: bool = False,
    allow_replace: bool = False,
    release_data: bool = False,
    yes: bool = False,
    dry_run: bool = False,
) -> None:
    """Deploy the machine, then set code-server up on it. What an earlier deploy chose holds until it is changed."""
    from torchneuron.deploy import lifecycle
    from torchneuron.deploy import options as deploy_options

    chosen: dict[str, Any] = {
        "type": type,
        "use_capacity_block": use_capacity_block,
        "capacity_reservation_id": capacity_reservation_id,
        "on_demand": on_demand,
        "subnet_id": subnet_id,
        "count": count,
        "volume_size": volume_size,
        "data_volume_size": data_volume_size,
        "allowed_ips": allowed_ip or (),
        "closed": closed,
        "open_to_world": open_to_world,
        "refresh_ami": refresh_ami,
    }
    deploying = {**chosen, "skip_setup": skip_setup, "allow_replace": allow_replace, "release_data": release_data}
    if destroy:
        deploy_options.check_alone("--destroy", {**deploying, "show_info": show_info})
        lifecycle.destroy(region, yes=yes, delete_data=delete_data, dry_run=dry_run)
        return
    if show_info:
        deploy_options.check_alone("--show-info", {**deploying, "yes": yes, "delete_data": delete_data})
        lifecycle.info(region, "table")
        return
    deploy_options.check_alone("invoke deploy without --destroy", {"delete_data": delete_data})
    given = deploy_options.read(region=region, **chosen)
    if dry_run:
        lifecycle.try_out_deploy(given, skip_setup=skip_setup, allow_replace=allow_replace, release_data=release_data)
        return
    lifecycle.deploy_and_set_up(
        given, skip_setup=skip_setup, allow_replace=allow_replace, release_data=release_data, yes=yes
    )


@command(help={"region": "AWS region", "output": "table or json"})
def info(context: Context, region: str = "", output: str = "table") -> None:
    """Show what is deployed and how to reach it."""
    from torchneuron.deploy import lifecycle

    lifecycle.info(region, output)


@command(help={"region": "AWS region"})
def password(context: Context, region: str = "") -> None:
    """Print the password of what is deployed, from Secrets Manager."""
    from torchneuron.deploy import lifecycle

    lifecycle.show_password(region)


@command(
    help={
        "region": "AWS region",
        "yes": "do not ask",
        "delete_data": "remove the data volumes, too",
        "dry_run": "show what would be removed and what would stay, and remove nothing",
    }
)
def destroy(
    context: Context, region: str = "", yes: bool = False, delete_data: bool = False, dry_run: bool = False
) -> None:
    """Remove what is deployed, after showing it and asking; data volumes stay for the next deploy."""
    from torchneuron.deploy import lifecycle

    lifecycle.destroy(region, yes=yes, delete_data=delete_data, dry_run=dry_run)


@command(
    help={
        "scenario": "the story to play: happy (the default), step-fails, laptop-dies, block-not-active, wrong-zone, "
        "capacity-gone, payment-fails or block-ends",
        "once": "happy: verify the login and end, instead of staying up until Ctrl-C",
        "state": "happy: a folder to keep the rehearsal in; the same again takes it up",
        "region": "AWS region to rehearse in (default: sa-east-1)",
    }
)
def rehearse(context: Context, scenario: str = "", once: bool = False, state: str = "", region: str = "") -> None:
    """The whole main job, or what can go wrong in it, against a rehearsal AWS on this machine."""
    import os
    import sys
    from pathlib import Path

    from torchneuron.core.config import PROJECT_ROOT

    given = {"--scenario": scenario, "--state": state and str(Path(state).resolve()), "--region": region}
    options = [word for name, value in given.items() if value for word in (name, value)]
    # In this process's place: Ctrl-C is then the rehearsal's own, and it cleans up after itself.
    os.chdir(PROJECT_ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "rehearsal.rehearse", *options, *(["--once"] if once else [])])
