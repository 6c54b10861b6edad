"""Whether a machine of the settings' type can be launched in the region."""

from __future__ import annotations

from pathlib import Path

from torchneuron.aws.session import BRIEF, Aws
from torchneuron.capacity_blocks import launch_check
from torchneuron.capacity_blocks.launch_check import Launch, Result
from torchneuron.capacity_blocks.rules import is_sold_as_blocks_only
from torchneuron.core import config
from torchneuron.core.errors import AwsError, InputError
from torchneuron.doctor.finding import Finding, Verdict

# The others can be done without: another type, a named subnet, a Capacity Block.
_NEEDED = ("AMI", "launch permission")


def findings(region: str, file: Path | None = None) -> list[Finding]:
    """What there is to say of a launch; nothing where settings or credentials are missing, which is said elsewhere."""
    try:
        settings = config.load(file)
        aws = Aws(settings.region(region), lookups=BRIEF)
        instance_type = settings.default_instance_type
        launch = Launch(instance_type, on_block=is_sold_as_blocks_only(instance_type))
        return [_finding(result) for result in launch_check.check(aws, settings, launch)]
    except (InputError, AwsError):
        return []


def _finding(result: Result) -> Finding:
    if result.problem is None:
        return Finding(result.name, result.found, Verdict.OK)
    verdict = Verdict.MISSING if result.name in _NEEDED else Verdict.WARNING
    remedy = "\n".join(filter(None, (result.problem.why, result.problem.do)))
    return Finding(result.name, result.problem.what.rstrip("."), verdict, remedy)
