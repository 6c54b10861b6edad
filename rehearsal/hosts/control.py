"""What happens to a host from outside, because somebody asked for it: `POST host`, see docs/rehearsal.md.

What a reboot or an agent out of reach means for commands is `commands`' and `agent`'s to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from rehearsal.errors import SettingsError
from rehearsal.links import PING_EVERY
from rehearsal.world import World


def do(world: World, body: Mapping[str, Any]) -> dict[str, Any]:
    """Do to a host what a request says, and tell its state; SettingsError or HostError when it can't be done."""
    instance_id, what = body.get("instance_id"), body.get("do")
    more = {name: value for name, value in body.items() if name not in ("instance_id", "do")}
    if not isinstance(instance_id, str) or not isinstance(what, str) or what not in _DOINGS:
        raise SettingsError(f'send {{"instance_id": "i-…", "do": one of {", ".join(_DOINGS)}}}')
    if more.keys() - ({"noticed_after_seconds"} if what == "lose-agent" else set()):
        raise SettingsError(f"{what} takes no {', '.join(more)}")
    if instance_id not in world.fleet.states():
        raise SettingsError(f"there is no instance {instance_id} with a host")
    _DOINGS[what](world, instance_id, **more)
    return {"instance_id": instance_id, "host": world.fleet.states().get(instance_id)}


def _reboot(world: World, instance_id: str) -> None:
    world.fleet.reboot(instance_id)


def _break(world: World, instance_id: str) -> None:
    world.links.disconnect(instance_id)
    world.commands.abandon([instance_id], undelivered=False)
    world.fleet.break_down(instance_id)


def _lose_agent(world: World, instance_id: str, noticed_after_seconds: Any = None) -> None:
    seconds = PING_EVERY.total_seconds() if noticed_after_seconds is None else noticed_after_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 86_400:
        raise SettingsError(f"noticed_after_seconds is a number from 0 to 86400, not {seconds!r}")
    world.links.disconnect(instance_id, timedelta(seconds=seconds))


def _restore_agent(world: World, instance_id: str) -> None:
    if world.fleet.ready(instance_id) is None:
        raise SettingsError(f"{instance_id} has no host that runs, and so no agent")
    world.links.reconnect([instance_id])
    world.commands.reconnect(instance_id)


_DOINGS: Mapping[str, Callable[..., None]] = {
    "reboot": _reboot,
    "lose-agent": _lose_agent,
    "restore-agent": _restore_agent,
    "break": _break,
}
