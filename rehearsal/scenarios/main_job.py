"""The main job in parts, for every scenario: a block bought, its start, the state's bucket, a login."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from rehearsal.scenarios.sandbox import SandboxError, run
from rehearsal.scenarios.stage import Stage

INSTANCE_TYPE = "trn2.3xlarge"
HOURS = 24


@dataclass(frozen=True)
class Proposed:
    """What `cb.search` proposes to buy: its best price. `start` is ISO 8601, UTC."""

    offering_id: str
    start: str

    @property
    def purchase(self) -> tuple[str, ...]:
        """The command that buys it, and asks nothing."""
        return ("cb.purchase", "--offering-id", self.offering_id, "--start-time", self.start, "--yes")


def find(stage: Stage, *, show: bool = True) -> Proposed:
    found = stage.invoke("cb.search", "-t", INSTANCE_TYPE, "-d", str(HOURS), "-r", stage.region, show=show)
    proposed = re.search(r"--offering-id (\S+) --start-time (\S+)", found)
    if proposed is None:
        raise SandboxError("cb.search found no offering to buy.")
    return Proposed(proposed.group(1), proposed.group(2))


def buy(stage: Stage, *, show: bool = True) -> Proposed:
    """Find a block and buy it, each under its heading."""
    stage.heading("Find a Capacity Block")
    proposed = find(stage, show=show)
    stage.heading("Buy it, and keep its ids in Parameter Store")
    stage.invoke(*proposed.purchase, "-r", stage.region, show=show)
    return proposed


def make_bucket(stage: Stage, *, show: bool = True) -> None:
    stage.heading("Make the bucket for Terraform's state")
    stage.invoke("bootstrap", "-r", stage.region, show=show)


def begin(stage: Stage, proposed: Proposed) -> None:
    stage.heading(f"The rehearsal's clock moves to the block's start, {proposed.start}")
    stage.sandbox.control("clock", {"to": proposed.start})


def prepare(stage: Stage, *, show: bool = True) -> Proposed:
    """Find and buy a block, go to its start, make the state bucket."""
    proposed = buy(stage, show=show)
    begin(stage, proposed)
    make_bucket(stage, show=show)
    return proposed


def saved_block(stage: Stage) -> str:
    """The reservation's id that the purchase saved."""
    return reservation_in(run(stage.sandbox, ["invoke", "cb.load-params", "-r", stage.region, "-o", "shell"]))


def reservation_in(told: str) -> str:
    """The first reservation's id in what a command printed."""
    found = re.search(r"\bcr-[0-9a-f]{17}\b", told)
    if found is None:
        raise SandboxError(f"No reservation is named in:\n{told}")
    return found.group()


def the_instance(stage: Stage) -> str:
    """The id of the one instance there is."""
    (instance_id,) = stage.sandbox.control("status")["hosts"]
    return str(instance_id)


def forward_to_nginx(stage: Stage) -> int:
    """The port on 127.0.0.1 that leads to the machine's nginx, as a Session Manager port forward does."""
    inside = stage.sandbox.settings()["nginxPort"]
    forwarded = stage.sandbox.control("forward", {"instance_id": the_instance(stage), "port": inside})
    return int(forwarded["port"])


def check_login(stage: Stage) -> None:
    """Log in to code-server as a browser does. Raises SandboxError when that does not work."""
    port = forward_to_nginx(stage)
    password = run(stage.sandbox, ["invoke", "password", "-r", stage.region]).strip()
    login = log_in(port, password)
    if not login.accepted:
        raise SandboxError(f"code-server refused the password from Secrets Manager (HTTP {login.status}).")
    stage.say(f"http://127.0.0.1:{port} takes the password from Secrets Manager")
    upgraded = upgrade_to_websocket(port, login.session)
    if upgraded != 101:
        raise SandboxError(f"The editor's websocket does not pass nginx (HTTP {upgraded}, not 101).")
    stage.say("and upgrades its websocket (HTTP 101)")
