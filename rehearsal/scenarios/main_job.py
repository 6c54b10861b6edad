"""Parts of the main job that scenarios share: buy a block, go to its start, create the state bucket, log in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from rehearsal.scenarios.sandbox import SandboxError, run

INSTANCE_TYPE = "trn2.3xlarge"
HOURS = 24


@dataclass(frozen=True)
class Proposal:
    """The offering that `cb.search` proposes. `start` is ISO 8601, UTC."""

    offering_id: str
    start: str

    @property
    def purchase(self) -> tuple[str, ...]:
        """The command that buys it without asking."""
        return ("cb.purchase", "--offering-id", self.offering_id, "--start-time", self.start, "--yes")


def find(demo: Demo, *, show: bool = True) -> Proposal:
    output = demo.invoke("cb.search", "-t", INSTANCE_TYPE, "-d", str(HOURS), "-r", demo.region, show=show)
    proposed = re.search(r"--offering-id (\S+) --start-time (\S+)", output)
    if proposed is None:
        raise SandboxError("cb.search found no offering to buy.")
    return Proposal(proposed.group(1), proposed.group(2))


def buy(demo: Demo, *, show: bool = True) -> Proposal:
    """Find a block and buy it."""
    demo.heading("Find a Capacity Block")
    proposal = find(demo, show=show)
    demo.heading("Buy it, and save its ids in Parameter Store")
    demo.invoke(*proposal.purchase, "-r", demo.region, show=show)
    return proposal


def make_bucket(demo: Demo, *, show: bool = True) -> None:
    demo.heading("Create the bucket for Terraform's state")
    demo.invoke("bootstrap", "-r", demo.region, show=show)


def begin(demo: Demo, proposal: Proposal) -> None:
    demo.heading(f"The rehearsal's clock moves to the block's start, {proposal.start}")
    demo.sandbox.control("clock", {"to": proposal.start})


def prepare(demo: Demo, *, show: bool = True) -> Proposal:
    """Find and buy a block, go to its start, create the state bucket."""
    proposal = buy(demo, show=show)
    begin(demo, proposal)
    make_bucket(demo, show=show)
    return proposal


def saved_block(demo: Demo) -> str:
    """The reservation id that the purchase saved."""
    return reservation_in(run(demo.sandbox, ["invoke", "cb.load-params", "-r", demo.region, "-o", "shell"]))


def reservation_in(output: str) -> str:
    """The first reservation id in a command's output. Raises SandboxError."""
    found = re.search(r"\bcr-[0-9a-f]{17}\b", output)
    if found is None:
        raise SandboxError(f"There is no reservation id in:\n{output}")
    return found.group()


def the_instance(demo: Demo) -> str:
    """The id of the only instance."""
    (instance_id,) = demo.sandbox.control("status")["hosts"]
    return str(instance_id)


def forward_to_nginx(demo: Demo) -> int:
    """A port on 127.0.0.1 that leads to the host's nginx, as a Session Manager port forward does."""
    port = demo.sandbox.settings()["nginxPort"]
    forwarded = demo.sandbox.control("forward", {"instance_id": the_instance(demo), "port": port})
    return int(forwarded["port"])


def check_login(demo: Demo) -> None:
    """Log in to code-server as a browser does. Raises SandboxError when that does not work."""
    port = forward_to_nginx(demo)
    password = run(demo.sandbox, ["invoke", "password", "-r", demo.region]).strip()
    login = log_in(port, password)
    if not login.accepted:
        raise SandboxError(f"code-server refused the password from Secrets Manager (HTTP {login.status}).")
    demo.say(f"http://127.0.0.1:{port} accepts the password from Secrets Manager")
    upgraded = upgrade_to_websocket(port, login.session)
    if upgraded != 101:
        raise SandboxError(f"nginx does not pass the editor's websocket on (HTTP {upgraded}, not 101).")
    demo.say("and upgrades the websocket (HTTP 101)")
