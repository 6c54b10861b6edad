"""`invoke doctor`: runs the checks and prints the findings, or prints the IAM policies that commands need."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from torchneuron.core.errors import NotReadyError
from torchneuron.core.text import plain
from torchneuron.doctor import findings, programs, python
from torchneuron.doctor.findings import Finding
from torchneuron.doctor.options import DoctorOptions


def run(options: DoctorOptions) -> None:
    """Print the policy that `options` asks for, else run the checks."""
    if options.policy:
        print_policy(options.policy)
    else:
        run_checks(options.region, options.output)


def run_checks(region: str, output: str) -> None:
    """Check this machine and the account, and print the findings. Raises NotReadyError if something is missing.

    Without the project's packages, only the checks that do not need them run.
    """
    try:
        from torchneuron.core import display, options
        from torchneuron.doctor import checks
    except ImportError:
        local = _check_local()
        print(plain(findings.as_json(local) if output == "json" else findings.as_text(local)))
        sys.exit(NotReadyError.exit_status)
    output_format = options.one_of("output", output, findings.FORMATS)
    with display.waiting("Checking this machine and the account"):
        local = _check_local()
        in_settings, region = checks.check_settings(region)
        in_account = checks.check_account(region)
        of_launch = [] if findings.missing(in_account) else checks.check_launch(region)
    found = [*local, *in_settings, *in_account, *of_launch]
    if output_format == "json":
        display.say(findings.as_json(found))
    else:
        print_table(found)
    if missing := findings.missing(found):
        raise NotReadyError(f"Missing: {', '.join(missing)}.")
    display.note("Everything that is required is present.")


def _check_local() -> list[Finding]:
    return [python.version(), python.packages(), *programs.check_all()]


def print_table(found: Sequence[Finding]) -> None:
    """Print a row per finding, then the remedies in lines that can be copied."""
    from torchneuron.core import display

    rows = [(finding.name, finding.verdict.value, finding.found) for finding in found]
    display.table(["check", "verdict", "found"], rows)
    for line in findings.remedies(found):
        display.say(line)


def print_policy(names: str) -> None:
    """Print, as JSON, the IAM policy of the commands in `names`, or of all; the purpose of each grant on stderr.

    Raises InputError for an unknown command.
    """
    import json

    from torchneuron.aws import iam_policies
    from torchneuron.core import config, display
    from torchneuron.core.options import one_of, several
    from torchneuron.deploy import state_bucket
    from torchneuron.doctor import permissions

    known = [permissions.ALL, *permissions.NEEDED]
    commands = [one_of("command", name, known) for name in several("--policy", names)]
    settings = config.load()
    scope = iam_policies.Scope(
        project=settings.project_name,
        bucket=settings.backend.get("bucket") or state_bucket.bucket_pattern(settings.project_name),
        ami_parameters=tuple(settings.ami_parameters.values()),
    )
    grants = permissions.needed_by(permissions.NEEDED if permissions.ALL in commands else commands)
    for grant in grants:
        display.note(f"{grant.name:<20} {grant.why}")
    if not grants:
        display.note(f"No permission is needed for {', '.join(commands)}.")
    policies = iam_policies.policies(grants, scope)
    for number, policy in enumerate(policies, 1):
        if len(policies) > 1:
            display.note(f"Policy {number} of {len(policies)}, because of IAM's size limit. Attach all of them.")
        display.say(json.dumps(policy, indent=2))
