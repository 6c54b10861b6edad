"""The machine: `invoke bootstrap`, `deploy`, `info`, `password`, `destroy`, `rehearse`."""

from __future__ import annotations

from dataclasses import dataclass

from commands.command import command
from torchneuron.core.options import flag, option
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


@dataclass(frozen=True)
class RehearseOptions:
    scenario: str = option(
        "scenario to play: happy (the default), step-fails, laptop-dies, block-not-active, wrong-zone, "
        "capacity-gone, payment-fails or block-ends"
    )
    once: bool = flag("happy: check the login and stop, instead of staying up until Ctrl-C")
    state: str = option("happy: folder to keep the rehearsal in, and to resume it from")
    region: str = option("AWS region to rehearse in (default: sa-east-1)")


@command(RehearseOptions)
def rehearse(options: RehearseOptions) -> None:
    """The whole main job, or what can go wrong in it, against a rehearsal AWS on this machine."""
    import os
    import sys
    from pathlib import Path

    from torchneuron.core.config import PROJECT_ROOT

    state = options.state and str(Path(options.state).resolve())
    given = {"--scenario": options.scenario, "--state": state, "--region": options.region}
    words = [word for name, value in given.items() if value for word in (name, value)]
    # In this process's place: Ctrl-C is then the rehearsal's own, and it cleans up after itself.
    os.chdir(PROJECT_ROOT)
    command_line = [sys.executable, "-m", "rehearsal.rehearse", *words, *(["--once"] if options.once else [])]
    os.execv(sys.executable, command_line)
