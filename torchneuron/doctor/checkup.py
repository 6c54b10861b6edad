"""`invoke doctor`: runs the checks and shows what they found; prints the policies that commands need."""

from __future__ import annotations

import sys

from torchneuron.core.errors import NotReadyError
from torchneuron.core.text import plain
from torchneuron.doctor import programs, python, show
from torchneuron.doctor.finding import missing


def examine(region: str, output: str) -> None:
    """Look at this machine and this account. Raises NotReadyError, after showing it, where something is missing.

    Where packages are missing that the rest needs, what can be said without them is said.
    """
    try:
        from torchneuron.core import display, options
        from torchneuron.doctor import account, launch, settings
    except ImportError:
        found = [python.version(), python.packages(), *programs.findings()]
        print(plain(show.as_json(found) if output == "json" else show.plain(found)))
        sys.exit(NotReadyError.exit_status)
    form = options.one_of("output", output, show.FORMS)
    with display.waiting("Looking at this machine and the account"):
        of_settings, region = settings.findings(region)
        of_account = account.findings(region)
        of_launch = [] if missing(of_account) else launch.findings(region)
        found = [python.version(), python.packages(), *programs.findings(), *of_settings, *of_account, *of_launch]
    if form == "json":
        display.say(show.as_json(found))
    else:
        show.table(found)
    if lacking := missing(found):
        raise NotReadyError(f"Missing: {', '.join(lacking)}.")
    display.note("Nothing that is needed is missing.")


def print_policy(names: str) -> None:
    """`--policy`: the policy of some commands, or of all, as JSON; what each part is for on standard error.

    Raises InputError for a command that there is not.
    """
    import json

    from torchneuron.aws import iam_policies
    from torchneuron.core import config, display
    from torchneuron.core.options import one_of, several
    from torchneuron.deploy import state_bucket
    from torchneuron.doctor import permissions

    known = [permissions.ALL, *permissions.NEEDED]
    wanted = [one_of("command", name, known) for name in several("--policy", names)]
    settings = config.load()
    scope = iam_policies.Scope(
        project=settings.project_name,
        bucket=settings.backend.get("bucket") or state_bucket.bucket_pattern(settings.project_name),
        ami_parameters=tuple(settings.ami_parameters.values()),
    )
    grants = permissions.needed_by(permissions.NEEDED if permissions.ALL in wanted else wanted)
    for grant in grants:
        display.note(f"{grant.name:<20} {grant.why}")
    if not grants:
        display.note(f"No permission is needed for {', '.join(wanted)}.")
    made = iam_policies.policies(grants, scope)
    for number, policy in enumerate(made, 1):
        if len(made) > 1:
            display.note(f"Policy {number} of {len(made)}: IAM takes no longer ones. Attach all of them.")
        display.say(json.dumps(policy, indent=2))
