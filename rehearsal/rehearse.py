"""`make rehearse`: the whole main job, by the commands a user types, against an AWS on this machine.

Nothing on the way is faked: Terraform with the AWS provider deploys, the setup's scripts run on a
Debian that boots, code-server answers. Where this machine cannot boot one, everything else runs,
and the setup's steps are rendered, checked for syntax, and called what they are: not executed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType

from rehearsal.hosts import images, requirements
from rehearsal.login import log_in, upgrade_to_websocket
from rehearsal.sandbox import Sandbox, SandboxError, open_sandbox, run

_INSTANCE_TYPE = "trn2.3xlarge"
_HOURS = 24


def main() -> int:
    """The exit status: 0 when the whole of it worked, 1 when something did not, 130 after Ctrl-C on the way."""
    options = _parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        suite = _ready_suite(options.suite)
        with open_sandbox(region=options.region, host_suite=suite) as sandbox:
            rehearsal = Rehearsal(sandbox, options.region)
            rehearsal.prepare()
            if suite == "none":
                rehearsal.check_steps()
            else:
                rehearsal.finish(once=options.once)
    except SandboxError as error:
        print(f"The rehearsal failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped before the end; what the rehearsal had made is removed.", file=sys.stderr)
        return 130
    return 0


@dataclass
class Rehearsal:
    """One run through the main job, each step under a heading with the seconds gone by."""

    sandbox: Sandbox
    region: str
    _begun: float = field(default_factory=time.monotonic)

    def prepare(self) -> None:
        """Find and buy a block, go to its start, make the state bucket."""
        self._heading("Find a Capacity Block")
        found = self._invoke("cb.search", "-t", _INSTANCE_TYPE, "-d", str(_HOURS), "-r", self.region)
        offering, start = _first_offering(found)
        self._heading("Buy it, and keep its ids in Parameter Store")
        self._invoke("cb.purchase", "--offering-id", offering, "--start-time", start, "-r", self.region, "--yes")
        self._heading(f"The rehearsal's clock moves to the block's start, {start}")
        self.sandbox.control("clock", {"to": start})
        self._heading("Make the bucket for Terraform's state")
        self._invoke("bootstrap", "-r", self.region)

    def finish(self, *, once: bool) -> None:
        """Deploy, set up, log in; then stay up until Ctrl-C, or with `once` end."""
        self._heading("Deploy on the block, and set code-server up")
        self._invoke("deploy", "--use-capacity-block", "-r", self.region)
        port = self._forwarded_port()
        self._heading("Log in")
        self._check_login(port)
        print(f"\nThe whole main job took {timedelta(seconds=round(time.monotonic() - self._begun))}.")
        if once:
            return
        settings = self.sandbox.folder / "environment.sh"
        settings.write_text(_as_shell(self.sandbox))
        print(f"\ncode-server:  http://127.0.0.1:{port}")
        print(f"password:     source {settings} && invoke password -r {self.region}")
        print("Every other command works in that shell too. Ctrl-C ends the rehearsal and removes all of it.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nEnding; this takes a few seconds.")

    def check_steps(self) -> None:
        """The part without a host: deploy, then what the setup would run, rendered and checked."""
        self._heading("Deploy on the block")
        self._invoke("deploy", "--use-capacity-block", "-r", self.region, "--skip-setup")
        self._heading("Render and check the setup's steps")
        told = run(self.sandbox, ["invoke", "setup", "--dry-run", "-r", self.region])
        steps = re.findall(r"^----- (\S+): would run", told, flags=re.MULTILINE)
        checked = re.findall(r"^----- (\d+ scripts checked.*)$", told, flags=re.MULTILINE)
        for step in steps:
            print(f"  {step:<34} NOT EXECUTED: this machine cannot boot a host")
        print("\n".join(checked))
        print(f"\nRehearsed: all but the {len(steps)} steps on the machine, none of which was executed.")

    def _forwarded_port(self) -> int:
        hosts = self.sandbox.control("status")["hosts"]
        (instance_id,) = hosts
        inside = self.sandbox.settings()["nginxPort"]
        port: int = self.sandbox.control("forward", {"instance_id": instance_id, "port": inside})["port"]
        return port

    def _check_login(self, port: int) -> None:
        password = run(self.sandbox, ["invoke", "password", "-r", self.region]).strip()
        login = log_in(port, password)
        if not login.accepted:
            raise SandboxError(f"code-server refused the password from Secrets Manager (HTTP {login.status}).")
        print(f"  http://127.0.0.1:{port} takes the password from Secrets Manager")
        upgraded = upgrade_to_websocket(port, login.session)
        if upgraded != 101:
            raise SandboxError(f"The editor's websocket does not pass nginx (HTTP {upgraded}, not 101).")
        print("  and upgrades its websocket (HTTP 101)")

    def _invoke(self, *arguments: str) -> str:
        print(f"$ invoke {shlex.join(arguments)}", flush=True)
        return run(self.sandbox, ["invoke", *arguments], show=True)

    def _heading(self, text: str) -> None:
        print(f"\n[{time.monotonic() - self._begun:5.1f} s] {text}", flush=True)


def _ready_suite(suite: str) -> str:
    """`suite`, once its images are built; `none`, after saying why, where this machine cannot boot it."""
    if suite == "none":
        return suite
    missing = requirements.missing(suite)
    blocking = [one for one in missing if not one.built_here]
    if blocking:
        print("This machine cannot boot a host, so the setup's steps will not be executed:")
        for one in blocking:
            print(f"  {one.what}: {one.why}\n    {one.remedy}")
        return "none"
    if missing:
        images.build(images.needed_for([suite]), lambda line: print(line + "\n", end="", flush=True))
    return suite


def _first_offering(listing: str) -> tuple[str, str]:
    """The id and start that `cb.search` proposes to buy: its best price."""
    proposed = re.search(r"--offering-id (\S+) --start-time (\S+)", listing)
    if proposed is None:
        raise SandboxError("cb.search found no offering to buy.")
    return proposed.group(1), proposed.group(2)


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
    parser = argparse.ArgumentParser(prog="python -m rehearsal.rehearse", description=__doc__)
    parser.add_argument("--once", action="store_true", help="verify the login and end")
    parser.add_argument("--region", default="sa-east-1")
    parser.add_argument("--suite", default="trixie", choices=["trixie", "bookworm", "none"])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
