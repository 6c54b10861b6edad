"""`make rehearse`, `invoke rehearse`: a story played by the commands a user types, against an AWS on this machine.

Nothing on the way is faked: Terraform with the AWS provider deploys, the setup's scripts run on a
Debian that boots, code-server answers. Where this machine cannot boot one, everything else runs,
and the setup's steps are rendered, checked for syntax, and called what they are: not executed.
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
from rehearsal.scenarios import SCENARIOS, happy, main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import Sandbox, SandboxError, kept_settings, open_sandbox

_HAPPY = SCENARIOS["happy"]
_POLL_SECONDS = 0.2


def main() -> int:
    """The exit status: 0 when all went as it should, 1 when something did not, 2 for what makes no sense, 130 after
    Ctrl-C on the way."""
    options = _parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        suite = _ready_suite(options)
        with open_sandbox(region=options.region, host_suite=suite, kept_in=options.state) as sandbox:
            demo = Demo(sandbox, options.region)
            if options.taken_up:
                _show_where_it_stands(demo)
            else:
                _play(demo, options.scenario, suite)
            if options.stays:
                _stay_up(demo)
    except SandboxError as error:
        print(f"The rehearsal failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        left = f"what it had made is kept in {options.state}" if options.state else "what it had made is removed"
        print(f"The rehearsal was stopped before its end; {left}.", file=sys.stderr)
        return 130
    return 0


def _play(demo: Demo, scenario: str, suite: str) -> None:
    if scenario == _HAPPY.name and suite == "none":
        happy.play_without_host(demo)
        return
    SCENARIOS[scenario].play(demo)
    took = timedelta(seconds=round(demo.seconds))
    if scenario == _HAPPY.name:
        print(f"\nThe whole main job took {took}.")
    else:
        print(f"\nRehearsed {scenario} in {took}: all went as it should.")


def _show_where_it_stands(demo: Demo) -> None:
    demo.heading(f"Taken up: it is {demo.sandbox.control('status')['clock']} by the rehearsal's clock")
    demo.invoke("cb.list", "-r", demo.region)
    while "booting" in (hosts := demo.sandbox.control("status")["hosts"]).values():
        time.sleep(_POLL_SECONDS)
    for instance_id, host in hosts.items():
        demo.say(f"{instance_id}: {host}")


def _stay_up(demo: Demo) -> None:
    """Until Ctrl-C; meanwhile any command works in a shell that has the settings."""
    sandbox, hosts = demo.sandbox, demo.sandbox.control("status")["hosts"]
    settings = sandbox.folder / "environment.sh"
    write_atomically(settings, _as_shell(sandbox).encode(), mode=0o600)
    if list(hosts.values()) == ["running"]:
        print(f"\ncode-server:  http://127.0.0.1:{main_job.forward_to_nginx(demo)}")
        print(f"password:     source {settings} && invoke password -r {demo.region}")
        print("Every other command works in that shell too.", end=" ")
    else:
        print(f"\nEvery command works in a shell after: source {settings}")
    kept = "ends the rehearsal and removes all of it"
    if sandbox.kept:
        kept = f"leaves the rehearsal; --state {shlex.quote(str(sandbox.folder))} takes it up again"
    print(f"Ctrl-C {kept}.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\nEnding; this takes a few seconds.")


def _ready_suite(options: argparse.Namespace) -> str:
    """The suite for the hosts, once its images are built; `none` where the story needs no host.

    `none` too, after saying why, where this machine cannot boot one. SandboxError where the story is about one.
    """
    scenario, suite = SCENARIOS[options.scenario], str(options.suite)
    if suite == "none" or not scenario.on_host:
        return "none"
    missing = requirements.missing(suite)
    blocking = [one for one in missing if not one.built_here]
    if blocking:
        why = "\n".join(f"  {one.what}: {one.why}\n    {one.remedy}" for one in blocking)
        if scenario != _HAPPY:
            raise SandboxError(
                f"{scenario.name} is about what happens on a host, and this machine can boot none.\n{why}"
            )
        print(f"This machine cannot boot a host, so the setup's steps will not be executed:\n{why}")
        return "none"
    if missing:
        images.build(images.needed_for([suite]), lambda line: print(line + "\n", end="", flush=True))
    return suite


def _as_shell(sandbox: Sandbox) -> str:
    """What makes any POSIX shell one in which commands reach the rehearsal, and nothing of the user's own AWS."""
    names = ("PATH", "TORCHNEURON_CONFIG", "NO_PROXY", "no_proxy", "CHECKPOINT_DISABLE")
    chosen = {
        name: value
        for name, value in sandbox.environment.items()
        if name in names or name.startswith(("AWS_", "TF_", "CDKTF_"))
    }
    forget = "for name in $(env | sed -n 's/^\\(AWS_[A-Za-z0-9_]*\\)=.*/\\1/p'); do unset \"$name\"; done\n"
    return forget + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in chosen.items())


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """The first Ctrl-C ends the rehearsal; another must not cut the cleaning-up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked; with `taken_up`, whether a kept rehearsal goes on, and `stays`, whether until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="invoke rehearse",
        description=__doc__,
        epilog="scenarios:\n" + "".join(f"  {one.name:<17} {one.summary}\n" for one in SCENARIOS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", default=_HAPPY.name, metavar="NAME", help="the story to play (default: happy)")
    parser.add_argument("--once", action="store_true", help="happy: verify the login and end")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="happy: keep the rehearsal there, or take it up again"
    )
    parser.add_argument("--region", help="default: sa-east-1, or the kept rehearsal's")
    parser.add_argument("--suite", default="trixie", choices=["trixie", "bookworm", "none"])
    options = parser.parse_args(arguments)
    try:
        _settle(options)
    except SandboxError as error:
        parser.error(str(error))
    return options


def _settle(options: argparse.Namespace) -> None:
    """SandboxError for options that make no sense together."""
    scenario = SCENARIOS.get(options.scenario)
    if scenario is None:
        raise SandboxError(f"there is no scenario {options.scenario!r}; there are {', '.join(SCENARIOS)}")
    if scenario != _HAPPY and (options.state or options.once):
        raise SandboxError("--state and --once are for the scenario happy; the others end by themselves")
    if scenario != _HAPPY and scenario.on_host and options.suite == "none":
        raise SandboxError(f"{scenario.name} is about what happens on a host: leave --suite none out")
    kept = kept_settings(options.state) if options.state else None
    options.region = options.region or (kept or {}).get("defaultRegion", "sa-east-1")
    if kept and kept["defaultRegion"] != options.region:
        raise SandboxError(f"the rehearsal in {options.state} is in {kept['defaultRegion']}; leave --region out")
    options.state = options.state and options.state.resolve()
    options.taken_up = kept is not None
    options.stays = scenario == _HAPPY and not options.once and options.suite != "none"


if __name__ == "__main__":
    sys.exit(main())
