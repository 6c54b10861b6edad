"""The machine: `invoke bootstrap`, `deploy`, `info`, `password`, `destroy`, `rehearse`."""

from __future__ import annotations

from invoke import Context

from commands.command import command, command_of_arguments
from torchneuron.deploy.options import BootstrapOptions, DeployOptions, DestroyOptions, InfoOptions, PasswordOptions


@command(BootstrapOptions)
def bootstrap(options: BootstrapOptions) -> None:
    """Create the S3 bucket for Terraform's state, and write its name into the settings."""
    from torchneuron.deploy import lifecycle

    lifecycle.bootstrap(options)


@command(DeployOptions)
def deploy(options: DeployOptions) -> None:
    """Deploy the machine, then set code-server up on it. Options left out keep the previous deploy's values."""
    from torchneuron.deploy import lifecycle

    lifecycle.deploy(options)


@command(InfoOptions)
def info(options: InfoOptions) -> None:
    """Show what is deployed and how to connect to it."""
    from torchneuron.deploy import lifecycle

    lifecycle.info(options)


@command(PasswordOptions)
def password(options: PasswordOptions) -> None:
    """Print the deployment's password, from Secrets Manager."""
    from torchneuron.deploy import lifecycle

    lifecycle.password(options)


@command(DestroyOptions)
def destroy(options: DestroyOptions) -> None:
    """Remove what is deployed, after showing it and asking. Data volumes stay for the next deploy."""
    from torchneuron.deploy import lifecycle

    lifecycle.destroy(options)


@command_of_arguments(
    help={
        "scenario": "scenario to play: happy (the default), step-fails, laptop-dies, block-not-active, wrong-zone, "
        "capacity-gone, payment-fails or block-ends",
        "once": "happy: check the login and stop, instead of staying up until Ctrl-C",
        "state": "happy: folder to keep the rehearsal in, and to resume it from",
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
