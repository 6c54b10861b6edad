"""The output of `cb.list`, `cb.describe` and `cb.cancel`, as tables and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from torchneuron.aws.ec2 import Instance
from torchneuron.capacity_blocks.details import Details, Health, Unreadable
from torchneuron.capacity_blocks.extensions import Extension
from torchneuron.capacity_blocks.reservations import GONE, NEVER_PAID, PAYMENT_PENDING, Fee, Reservation
from torchneuron.core import display, options
from torchneuron.core.display import Layout
from torchneuron.core.text import duration, iso, iso_or_none, local_time, price, quoted, seconds_to, when

# EC2 API reference, CapacityReservation: a block that is not paid by then becomes payment-failed.
_LONGEST_PAYMENT = timedelta(hours=12)
_BLOCK_HEADING = "Reservation\nInstances\nZone"
_STATE_HEADING = "State\nWhat comes next\nRunning on it"
# With local times as well, the wide layout then fits 120 columns and the narrow one 80.
_WIDE_STATE, _NARROW_STATE = 42, 50


def check_output(output: str) -> str:
    """The value of `--output`. Raises InputError for an unknown one."""
    return options.one_of("--output", output, ("table", "json"))


def show_list(found: Sequence[Details], region: str, output: str = "table") -> None:
    if output == "json":
        _print_json({"region": region, "reservations": [_row(details) for details in found]})
    elif not found:
        display.say(f"No Capacity Block in {region}.")
    else:
        wide = [[(_place(details), _state(details, _WIDE_STATE), _times(details))] for details in found]
        narrow = [[(_place(details), f"{_state(details, _NARROW_STATE)}\n{_times(details)}")] for details in found]
        display.fitting_table(
            [
                Layout((_BLOCK_HEADING, _STATE_HEADING, "Times (UTC)"), wide),
                Layout((_BLOCK_HEADING, f"{_STATE_HEADING}\nTimes (UTC)"), narrow),
            ]
        )
        parts = [("Running", details.instances) for details in found] + [
            ("Health", details.health) for details in found
        ]
        for line in dict.fromkeys(f"{name}: {part}." for name, part in parts if isinstance(part, Unreadable)):
            display.say(line)


def show_one(details: Details, output: str = "table") -> None:
    """One reservation in full."""
    if output == "json":
        bought = details.extensions
        known = None if bought is None or isinstance(bought, Unreadable) else [_extension_row(made) for made in bought]
        _print_json({**_row(details), "extensions": known})
    else:
        display.facts(_facts(details))


def confirm_cancellation(*, yes: bool = False) -> Callable[[Reservation], bool]:
    """The question before an on-demand reservation is cancelled."""

    def ask(reservation: Reservation) -> bool:
        display.note(
            f"{reservation.id}: {reservation.count} x {reservation.instance_type} on demand in {reservation.zone},"
            f" {reservation.available} free; {reservation.state}: {reservation.outlook}."
        )
        return yes or display.confirm(
            f"Cancel {reservation.id}? Instances that run on it keep running, and are still charged.",
            otherwise="Add --yes to cancel it without being asked.",
            unchanged="Nothing was cancelled.",
        )

    return ask


def show_cancelled(reservation: Reservation, changed: bool) -> None:
    """The result of a cancellation; not `changed` if it had ended already."""
    if changed:
        display.say(
            f"{reservation.id} is {reservation.state}. Instances that ran on it keep running, as on-demand instances."
        )
    else:
        display.say(f"{reservation.id} is {reservation.state} already: there is nothing to cancel.")


def show_dry_run(reservation: Reservation) -> None:
    """The result of a dry run of a cancellation."""
    if reservation.state in GONE:
        show_cancelled(reservation, False)
    else:
        display.say(f"{reservation.id} is {reservation.state}: you may cancel it. Nothing was cancelled (dry run).")


def _place(details: Details) -> str:
    block = details.reservation
    return f"{block.id}\n{block.count} x {block.instance_type}\n{block.zone}"


def _state(details: Details, width: int) -> str:
    """State, use and health, in lines of at most `width`."""
    block = details.reservation
    parts = [_status(block, "\n")]
    if block.is_open:
        parts.append(_use(details))
        if isinstance(details.health, Health):
            parts.append(_health(details.health))
    lines = "\n".join(parts).splitlines()
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


def _status(block: Reservation, separator: str) -> str:
    """EC2's state and the outlook, or the outlook alone when it starts with the state."""
    is_included = block.outlook.startswith(block.state.replace("-", " "))
    return block.outlook if is_included else f"{block.state}{separator}{block.outlook}"


def _use(details: Details) -> str:
    """How much of it is in use: `1 of 4 running, 1 pending, 2 free`."""
    block, instances = details.reservation, details.instances
    if isinstance(instances, Unreadable):
        return f"? of {block.count} running, {block.available} free"
    states = Counter(instance.state for instance in instances)
    others = [f"{count} {state}" for state, count in sorted(states.items()) if state != "running"]
    return ", ".join([f"{states['running']} of {block.count} running", *others, f"{block.available} free"])


def _health(health: Health | Unreadable | None) -> str:
    """`interconnect impaired, 1 of 4 instances impaired`; empty without health data."""
    if health is None or isinstance(health, Unreadable):
        return str(health or "")
    interconnect = "not known yet" if health.interconnect == "insufficient-data" else health.interconnect
    impaired = f", {health.unavailable} of {health.total} instances impaired" if health.unavailable else ""
    return f"interconnect {interconnect}{impaired}"


def _times(details: Details) -> str:
    """The dates, one a line, each after its name."""
    block = details.reservation
    dates: list[tuple[str, datetime | None]] = [("start", block.start)]
    if block.state not in NEVER_PAID:
        dates.append(("use until", block.reclaimed))
    dates.append(("end", block.end))
    if details.extension_window:
        opens, closes = details.extension_window
        if block.seen < opens:
            dates.append(("extend from", opens))
        elif block.seen <= closes:
            dates.append(("extend until", closes))
    return "\n".join(f"{name:<12} {_time(date)}" for name, date in dates if date)


def _time(time: datetime) -> str:
    local = local_time(time)
    return f"{time:%Y-%m-%d %H:%M} ({local})" if local else f"{time:%Y-%m-%d %H:%M}"


def _facts(details: Details) -> list[tuple[str, str]]:
    """Names and values for one reservation in full."""
    block, instances, bought = details.reservation, details.instances, details.extensions
    free = f", {block.available} free" if block.is_open else ""
    is_usable = block.reclaimed and block.state not in NEVER_PAID
    facts = [
        ("Reservation", block.id),
        ("Kind", _kind(block)),
        ("State", _status(block, ": ")),
        ("Payment", _payment(block)),
        ("Capacity", f"{block.count} x {block.instance_type}{free}"),
        ("Running on it", _lines(instances, _instance, "nothing")),
        ("Health", _health(details.health)),
        ("Zone", f"{block.zone} ({block.zone_id})" if block.zone_id else block.zone),
        ("Start", when(block.start)),
        ("Instances end", when(block.reclaimed) if is_usable else ""),
        ("End", when(block.end)),
        ("Extendable", _extendable(details)),
        ("Extensions", "" if bought is None else _lines(bought, _extension, "none")),
        ("Price", _price(block) if block.is_block else ""),
        ("Platform", block.platform),
        ("Owner", block.owner),
        ("ARN", block.arn),
        ("Tags", "\n".join(f"{key} = {value}" for key, value in sorted(block.tags.items())) or "none"),
    ]
    return [(name, value) for name, value in facts if value]


def _lines(values: Sequence[Any] | Unreadable, line: Callable[[Any], str], empty: str) -> str:
    return str(values) if isinstance(values, Unreadable) else "\n".join(map(line, values)) or empty


def _kind(block: Reservation) -> str:
    if not block.is_block:
        return "On-demand Capacity Reservation"
    return "Capacity Block of UltraServers" if block.is_ultraserver else "Capacity Block"


def _payment(block: Reservation) -> str:
    """What a pending or failed payment means; empty for other states."""
    if block.state == "payment-failed":
        return "AWS could not charge the price within 12 hours; check the payment method (Billing console), buy again"
    if block.state != PAYMENT_PENDING:
        return ""
    until = f" until {when(block.created + _LONGEST_PAYMENT)} at the latest" if block.created else ""
    return f"pending{until}; the block is lost only if it fails"


def _price(block: Reservation) -> str:
    if block.state in NEVER_PAID:
        paid = "not paid"
    else:
        paid = "payment pending" if block.state == PAYMENT_PENDING else "paid upfront"
    return f"{block.fee}, {paid}" if block.fee else f"{paid}: see the AWS bill"


def _instance(instance: Instance) -> str:
    launched = f", launched {when(instance.launched)}" if instance.launched else ""
    return f"{instance.instance_id} {instance.state}{launched}"


def _extension(extension: Extension) -> str:
    fee = price(extension.fee, extension.currency)
    return f"{extension.hours} h to {when(extension.end)} for {fee}: {extension.status.replace('-', ' ')}"


def _extendable(details: Details) -> str:
    """When an extension can be bought, and the command; empty for a block that cannot be extended."""
    block, window = details.reservation, details.extension_window
    if window is None:
        return ""
    opens, closes = window
    if block.seen > closes:
        return f"no longer: AWS sold extensions until {when(closes)}"
    if block.seen < opens:
        return f"from {when(opens)}, in {duration(opens - block.seen)}, until {when(closes)}"
    return (
        f"until {when(closes)}, {duration(closes - block.seen)} left:\n"
        f"invoke cb.extend --reservation-id {quoted(block.id)} -d 24 -r {block.region}"
    )


def _print_json(document: dict[str, Any]) -> None:
    display.say(json.dumps(document, indent=2))


def _row(details: Details) -> dict[str, Any]:
    """A reservation for programs. The names stay as they are.

    Times are ISO 8601 in UTC, times to go are whole seconds from `seen`, and 0 once past. Money is text, so that no
    program turns it into a float. null stands for what does not apply and for what could not be read; `notReadable`
    then has the reason, by name. `price` is what was paid upfront for this reservation alone; `boughtTogether` has the
    price of several reservations that were bought in one purchase.
    """
    block, instances, health = details.reservation, details.instances, details.health
    opens, closes = details.extension_window or (None, None)
    parts = {"instances": instances, "health": health, "extensions": details.extensions}
    return {
        "id": block.id,
        "arn": block.arn or None,
        "region": block.region,
        "zone": block.zone,
        "zoneId": block.zone_id or None,
        "ownerId": block.owner or None,
        "type": "capacity-block" if block.is_block else "default",
        "blockId": block.block_id or None,
        "ultraserver": block.is_ultraserver,
        "instanceType": block.instance_type,
        "platform": block.platform,
        "state": block.state,
        "outlook": block.outlook,
        "seen": iso(block.seen),
        "instancesTotal": block.count,
        "instancesAvailable": block.available,
        "instances": None if isinstance(instances, Unreadable) else [_instance_row(instance) for instance in instances],
        "created": iso_or_none(block.created),
        "start": iso(block.start),
        "secondsToStart": seconds_to(block.start, block.seen),
        "instancesTerminated": iso_or_none(block.reclaimed),
        "secondsToTermination": seconds_to(block.reclaimed, block.seen),
        "end": iso_or_none(block.end),
        "secondsToEnd": seconds_to(block.end, block.seen),
        "extensionFrom": iso_or_none(opens),
        "extensionUntil": iso_or_none(closes),
        **_price_row(block.fee),
        "health": vars(health) if isinstance(health, Health) else None,
        "tags": dict(sorted(block.tags.items())),
        "notReadable": {name: part.why for name, part in parts.items() if isinstance(part, Unreadable)},
    }


def _price_row(fee: Fee | None) -> dict[str, Any]:
    amount = {"price": str(fee.amount) if fee else None, "currency": fee.currency if fee else None}
    if fee and fee.covers:
        return {"price": None, "currency": None, "boughtTogether": {"covers": fee.covers, **amount}}
    return {**amount, "boughtTogether": None}


def _instance_row(instance: Instance) -> dict[str, Any]:
    return {"id": instance.instance_id, "state": instance.state, "launched": iso_or_none(instance.launched)}


def _extension_row(extension: Extension) -> dict[str, Any]:
    return {
        "offeringId": extension.offering_id,
        "start": iso(extension.start),
        "end": iso(extension.end),
        "hours": extension.hours,
        "price": str(extension.fee),
        "currency": extension.currency,
        "status": extension.status,
    }
