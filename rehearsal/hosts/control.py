"""`POST host` of the control API: reboot or break a host, or disconnect its agent (docs/rehearsal.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from rehearsal.errors import SettingsError
from rehearsal.links import PING_EVERY
from rehearsal.world import World


def do(world: World, body: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a request on a host and return the host's state. Raises SettingsError or HostError."""
    instance_id, action = body.get("instance_id"), body.get("do")
    options = {name: value for name, value in body.items() if name not in ("instance_id", "do")}
    if not isinstance(instance_id, str) or not isinstance(action, str) or action not in _ACTIONS:
        raise SettingsError(f'send {{"instance_id": "i-…", "do": one of {", ".join(_ACTIONS)}}}')
    if options.keys() - ({"noticed_after_seconds"} if action == "lose-agent" else set()):
        raise SettingsError(f"{action} does not accept {', '.join(options)}")
    if instance_id not in world.fleet.states():
        raise SettingsError(f"there is no instance {instance_id} with a host")
    _ACTIONS[action](world, instance_id, **options)
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
        raise SettingsError(f"the host of {instance_id} is not running, so it has no agent")
    world.links.reconnect([instance_id])
    world.commands.reconnect(instance_id)


_ACTIONS: Mapping[str, Callable[..., None]] = {
    "reboot": _reboot,
    "lose-agent": _lose_agent,
    "restore-agent": _restore_agent,
    "break": _break,
}
