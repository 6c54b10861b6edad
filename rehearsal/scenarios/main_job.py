"""The main job in parts, for every scenario: a block bought, its start, the state's bucket, a login."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.login import log_in, upgrade_to_websocket
from rehearsal.scenarios.sandbox import SandboxError, run

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


def find(demo: Demo, *, show: bool = True) -> Proposed:
    found = demo.invoke("cb.search", "-t", INSTANCE_TYPE, "-d", str(HOURS), "-r", demo.region, show=show)
    proposed = re.search(r"--offering-id (\S+) --start-time (\S+)", found)
    if proposed is None:
        raise SandboxError("cb.search found no offering to buy.")
    return Proposed(proposed.group(1), proposed.group(2))


def buy(demo: Demo, *, show: bool = True) -> Proposed:
    """Find a block and buy it, each under its heading."""
    demo.heading("Find a Capacity Block")
    proposed = find(demo, show=show)
    demo.heading("Buy it, and keep its ids in Parameter Store")
    demo.invoke(*proposed.purchase, "-r", demo.region, show=show)
    return proposed


def make_bucket(demo: Demo, *, show: bool = True) -> None:
    demo.heading("Make the bucket for Terraform's state")
    demo.invoke("bootstrap", "-r", demo.region, show=show)


def begin(demo: Demo, proposed: Proposed) -> None:
    demo.heading(f"The rehearsal's clock moves to the block's start, {proposed.start}")
    demo.sandbox.control("clock", {"to": proposed.start})


def prepare(demo: Demo, *, show: bool = True) -> Proposed:
    """Find and buy a block, go to its start, make the state bucket."""
    proposed = buy(demo, show=show)
    begin(demo, proposed)
    make_bucket(demo, show=show)
    return proposed


def saved_block(demo: Demo) -> str:
    """The reservation's id that the purchase saved."""
    return reservation_in(run(demo.sandbox, ["invoke", "cb.load-params", "-r", demo.region, "-o", "shell"]))


def reservation_in(told: str) -> str:
    """The first reservation's id in what a command printed."""
    found = re.search(r"\bcr-[0-9a-f]{17}\b", told)
    if found is None:
        raise SandboxError(f"No reservation is named in:\n{told}")
    return found.group()


def the_instance(demo: Demo) -> str:
    """The id of the one instance there is."""
    (instance_id,) = demo.sandbox.control("status")["hosts"]
    return str(instance_id)


def forward_to_nginx(demo: Demo) -> int:
    """The port on 127.0.0.1 that leads to the machine's nginx, as a Session Manager port forward does."""
    inside = demo.sandbox.settings()["nginxPort"]
    forwarded = demo.sandbox.control("forward", {"instance_id": the_instance(demo), "port": inside})
    return int(forwarded["port"])


def check_login(demo: Demo) -> None:
    """Log in to code-server as a browser does. Raises SandboxError when that does not work."""
    port = forward_to_nginx(demo)
    password = run(demo.sandbox, ["invoke", "password", "-r", demo.region]).strip()
    login = log_in(port, password)
    if not login.accepted:
        raise SandboxError(f"code-server refused the password from Secrets Manager (HTTP {login.status}).")
    demo.say(f"http://127.0.0.1:{port} takes the password from Secrets Manager")
    upgraded = upgrade_to_websocket(port, login.session)
    if upgraded != 101:
        raise SandboxError(f"The editor's websocket does not pass nginx (HTTP {upgraded}, not 101).")
    demo.say("and upgrades its websocket (HTTP 101)")
