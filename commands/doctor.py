"""This machine and this account: `invoke doctor`."""

from __future__ import annotations

from invoke import Context

from commands.command import command


@command(
    help={
        "region": "AWS region to look at (default: the settings' default region)",
        "output": "table or json",
        "policy": "print the IAM policy that commands need instead: their names, separated by commas, or all",
    }
)
def doctor(context: Context, region: str = "", output: str = "table", policy: str = "") -> None:
    """Show what is missing here for the commands, with its remedy; or the permissions they need."""
    from torchneuron.doctor import checkup

    if policy:
        checkup.print_policy(policy)
    else:
        checkup.examine(region, output)
