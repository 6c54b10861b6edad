"""`make rehearse`, `invoke rehearse`: play a scenario with the commands a user types, against AWS on this machine.

Terraform deploys with the AWS provider, the setup's scripts run on a Debian that boots, and code-server answers. On a
machine that cannot boot a host everything else runs; the setup's steps are rendered, checked for syntax and reported
as not executed.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType

from rehearsal.atomic_files import write_atomically
from rehearsal.hosts import images, requirements
from rehearsal.hosts.errors import HostError
from rehearsal.hosts.processes import end_with_parent
from rehearsal.scenarios import SCENARIOS, happy, main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox, SandboxError, kept_settings, open_sandbox

_HAPPY = SCENARIOS["happy"]
_POLL_SECONDS = 0.2


def main() -> int:
    """Returns 0 on success, 1 when the scenario failed, 2 for invalid options, 130 after Ctrl-C."""
    options = _parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        if options.with_parent:
            end_with_parent()
        suite = _ready_suite(options)
        with open_sandbox(region=options.region, host_suite=suite, kept_in=options.state) as sandbox:
            demo = Demo(sandbox, options.region)
            if options.resumes:
                _show_status(demo)
            else:
                _play(demo, options.scenario, suite)
            if options.stays_up:
                _stay_up(demo)
    except (SandboxError, HostError) as error:
        print(f"The rehearsal failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        rest = f"Its files are kept in {options.state}" if options.state else "Everything it created was removed"
        print(f"The rehearsal was interrupted. {rest}.", file=sys.stderr)
        return 130
    return 0


def _play(demo: Demo, scenario: str, suite: str) -> None:
    if scenario == _HAPPY.name and suite == "none":
        happy.play_without_host(demo)
        return
    SCENARIOS[scenario].play(demo)
    duration = timedelta(seconds=round(demo.seconds))
    if scenario == _HAPPY.name:
        print(f"\nThe whole main job took {duration}.")
    else:
        print(f"\nRehearsed {scenario} in {duration}: every command ended as expected.")


def _show_status(demo: Demo) -> None:
    demo.heading(f"Resumed: the rehearsal's clock is at {demo.sandbox.control('status')['clock']}")
    demo.invoke("cb.list", "-r", demo.region)
    while "booting" in (hosts := demo.sandbox.control("status")["hosts"]).values():
        time.sleep(_POLL_SECONDS)
    for instance_id, state in hosts.items():
        demo.say(f"{instance_id}: {state}")


def _stay_up(demo: Demo) -> None:
    """Keep the rehearsal up until Ctrl-C, for commands in a shell that has its settings."""
    sandbox, hosts = demo.sandbox, demo.sandbox.control("status")["hosts"]
    settings = sandbox.folder / "environment.sh"
    write_atomically(settings, _as_shell(sandbox).encode(), mode=0o600)
    if list(hosts.values()) == ["running"]:
        print(f"\ncode-server:  http://127.0.0.1:{main_job.forward_to_nginx(demo)}")
        print(f"password:     source {settings} && invoke password -r {demo.region}")
        print("All other commands work in that shell too.", end=" ")
    else:
        print(f"\nAll commands work in a shell after: source {settings}")
    consequence = "stops the rehearsal and removes everything it created"
    if sandbox.kept:
        consequence = f"stops the rehearsal; resume it with --state {shlex.quote(str(sandbox.folder))}"
    print(f"Ctrl-C {consequence}.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\nStopping; this takes a few seconds.")


def _ready_suite(options: argparse.Namespace) -> str:
    """Build the images of the chosen suite if necessary, and return it; `none` when the scenario needs no host.

    Prints why and returns `none` when this machine cannot boot a host. Raises SandboxError when the scenario needs one.
    """
    scenario, suite = SCENARIOS[options.scenario], str(options.suite)
    if suite == "none" or not scenario.on_host:
        return "none"
    missing = requirements.missing(suite)
    blocking = [requirement for requirement in missing if not requirement.built_here]
    if blocking:
        why = "\n".join(f"  {gap.what}: {gap.why}\n    {gap.remedy}" for gap in blocking)
        if scenario != _HAPPY:
            raise SandboxError(f"{scenario.name} needs a host, and this machine cannot boot one.\n{why}")
        print(f"This machine cannot boot a host, so the setup's steps will not be executed:\n{why}")
        return "none"
    if missing:
        images.build(images.needed_for([suite]), lambda line: print(line + "\n", end="", flush=True))
    return suite


def _as_shell(sandbox: Sandbox) -> str:
    """Commands that point a POSIX shell at the rehearsal and unset the user's own AWS variables."""
    names = ("PATH", "TORCHNEURON_CONFIG", "NO_PROXY", "no_proxy", "CHECKPOINT_DISABLE")
    chosen = {
        name: value
        for name, value in sandbox.environment.items()
        if name in names or name.startswith(("AWS_", "TF_", "CDKTF_"))
    }
    forget = "for name in $(env | sed -n 's/^\\(AWS_[A-Za-z0-9_]*\\)=.*/\\1/p'); do unset \"$name\"; done\n"
    return forget + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in chosen.items())


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """Stop the rehearsal at the first signal. A second one must not cut the cleanup short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The checked options, with `resumes` (from a kept rehearsal) and `stays_up` (until Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="invoke rehearse",
        description=__doc__,
        epilog="scenarios:\n" + "".join(f"  {it.name:<17} {it.summary}\n" for it in SCENARIOS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", default=_HAPPY.name, metavar="NAME", help="scenario to play [default: happy]")
    parser.add_argument("--once", action="store_true", help="happy: check the login and stop")
    parser.add_argument("--state", type=Path, metavar="DIR", help="happy: keep the rehearsal there, or resume it")
    parser.add_argument("--region", help="AWS region [default: sa-east-1, or the kept rehearsal's]")
    parser.add_argument("--suite", default="trixie", choices=["trixie", "bookworm", "none"])
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process ends, even by SIGKILL")
    options = parser.parse_args(arguments)
    try:
        _complete(options)
    except SandboxError as error:
        parser.error(str(error))
    return options


def _complete(options: argparse.Namespace) -> None:
    """Check the options against each other and fill in what they imply. Raises SandboxError."""
    scenario = SCENARIOS.get(options.scenario)
    if scenario is None:
        raise SandboxError(f"unknown scenario {options.scenario!r}; choose one of {', '.join(SCENARIOS)}")
    if scenario != _HAPPY and (options.state or options.once):
        raise SandboxError("--state and --once are only valid for the scenario happy; the others stop by themselves")
    if scenario != _HAPPY and scenario.on_host and options.suite == "none":
        raise SandboxError(f"{scenario.name} needs a host: leave --suite none out")
    kept = kept_settings(options.state) if options.state else None
    options.region = options.region or (kept or {}).get("defaultRegion", "sa-east-1")
    if kept and kept["defaultRegion"] != options.region:
        raise SandboxError(f"the rehearsal in {options.state} is in {kept['defaultRegion']}; leave --region out")
    options.state = options.state and options.state.resolve()
    options.resumes = kept is not None
    options.stays_up = scenario == _HAPPY and not options.once and options.suite != "none"


if __name__ == "__main__":
    sys.exit(main())
