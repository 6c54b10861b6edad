"""`invoke doctor`."""

from __future__ import annotations

from commands.command import command
from torchneuron.doctor.options import DoctorOptions


@command(DoctorOptions)
def doctor(options: DoctorOptions) -> None:
    """Check this machine and the AWS account, or print the permissions that commands need.

    Example: invoke doctor --region sa-east-1
    Example: invoke doctor --policy deploy,setup
    """
    from torchneuron.doctor import doctor as checks

    checks.run(options)
