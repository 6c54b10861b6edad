"""What `cb.list` and `cb.describe` found, for programs: JSON whose names stay as they are.

Times are ISO 8601 in UTC, spans are whole seconds, money is text, so that no program makes a float of it unasked.
null stands for what does not apply, and for what could not be read: then `notReadable` says why, by name.

Of a reservation:
`id`, `arn`, `region`, `zone`, `zoneId`, `ownerId`; `type` is `capacity-block` or `default` (on demand), `blockId`
the Capacity Block's own id; `ultraserver`; `instanceType`, `platform`; `state` is EC2's word, `outlook` ours;
`seen` is when AWS was asked, `secondsTo…` count from it, and are 0 for what is past.
`instancesTotal`, `instancesAvailable`; `instances` are those on it, each `id`, `state`, `launched`.
`created`, `start`, `instancesTerminated` (when AWS begins to), `end`;
`extensionFrom`, `extensionUntil`: when AWS sells extensions of it.
`price`, `currency`: paid upfront for this reservation alone, where cb.purchase noted it.
`boughtTogether`: of a reservation that was bought together with others (segments, UltraServers), `covers` says what
all was bought in that purchase, `price` and `currency` what all of it cost; its own `price` is null then.
`health`: `interconnect` (`ok`, `impaired`, `insufficient-data`), `total`, `available`, `unavailable` (instances).
`extensions` (of `cb.describe` only): each `offeringId`, `start`, `end`, `hours`, `price`, `currency`, `status`.
`tags`: an object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torchneuron.capacity_blocks.details import Details, Health, Instance, Unreadable
from torchneuron.capacity_blocks.extensions import Extension
from torchneuron.capacity_blocks.reservations import Fee
from torchneuron.core.text import iso, iso_or_none, seconds_to


def list_as_json(found: Sequence[Details], region: str) -> str:
    """One object: `region` and `reservations`, by start."""
    return _text({"region": region, "reservations": [_summary(one) for one in found]})


def as_json(found: Details) -> str:
    """One object: the reservation, with its `extensions`."""
    made = found.extensions
    extensions = None if made is None or isinstance(made, Unreadable) else [_extension(one) for one in made]
    return _text({**_summary(found), "extensions": extensions})


def _summary(found: Details) -> dict[str, Any]:
    one, instances, health = found.reservation, found.instances, found.health
    opens, closes = found.extension_window or (None, None)
    parts = {"instances": instances, "health": health, "extensions": found.extensions}
    return {
        "id": one.id,
        "arn": one.arn or None,
        "region": one.region,
        "zone": one.zone,
        "zoneId": one.zone_id or None,
        "ownerId": one.owner or None,
        "type": "capacity-block" if one.is_block else "default",
        "blockId": one.block_id or None,
        "ultraserver": one.is_ultraserver,
        "instanceType": one.instance_type,
        "platform": one.platform,
        "state": one.state,
        "outlook": one.outlook,
        "seen": iso(one.seen),
        "instancesTotal": one.count,
        "instancesAvailable": one.available,
        "instances": None if isinstance(instances, Unreadable) else [_instance(each) for each in instances],
        "created": iso_or_none(one.created),
        "start": iso(one.start),
        "secondsToStart": seconds_to(one.start, one.seen),
        "instancesTerminated": iso_or_none(one.reclaimed),
        "secondsToTermination": seconds_to(one.reclaimed, one.seen),
        "end": iso_or_none(one.end),
        "secondsToEnd": seconds_to(one.end, one.seen),
        "extensionFrom": iso_or_none(opens),
        "extensionUntil": iso_or_none(closes),
        **_paid(one.fee),
        "health": _health(health) if isinstance(health, Health) else None,
        "tags": dict(sorted(one.tags.items())),
        "notReadable": {name: part.why for name, part in parts.items() if isinstance(part, Unreadable)},
    }


def _paid(fee: Fee | None) -> dict[str, Any]:
    amount = {"price": str(fee.amount) if fee else None, "currency": fee.currency if fee else None}
    if fee and fee.covers:
        return {"price": None, "currency": None, "boughtTogether": {"covers": fee.covers, **amount}}
    return {**amount, "boughtTogether": None}


def _instance(instance: Instance) -> dict[str, Any]:
    return {"id": instance.id, "state": instance.state, "launched": iso_or_none(instance.launched)}


def _health(health: Health) -> dict[str, Any]:
    return {
        "interconnect": health.interconnect,
        "total": health.total,
        "available": health.available,
        "unavailable": health.unavailable,
    }


def _extension(extension: Extension) -> dict[str, Any]:
    return {
        "offeringId": extension.offering_id,
        "start": iso(extension.start),
        "end": iso(extension.end),
        "hours": extension.hours,
        "price": str(extension.fee),
        "currency": extension.currency,
        "status": extension.status,
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2)
