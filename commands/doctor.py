"""`invoke doctor`."""

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
    """Check this machine and the AWS account, or print the permissions that commands need."""
    from torchneuron.doctor import doctor as checks

    if policy:
        checks.print_policy(policy)
    else:
        checks.run_checks(region, output)
