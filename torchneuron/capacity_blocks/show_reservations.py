"""What `cb.list`, `cb.describe` and `cb.cancel` print: results on standard output, nothing else there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from torchneuron.capacity_blocks import export_reservations, reservations_table
from torchneuron.capacity_blocks.details import Details, Health, Instance, Unreadable
from torchneuron.capacity_blocks.extensions import Extension
from torchneuron.capacity_blocks.reservations import GONE, NEVER_PAID, Reservation
from torchneuron.core import display, options
from torchneuron.core.text import duration, price, quoted, when

_FORMS = ("table", "json")
# EC2 API reference, CapacityReservation: what is not paid by then is payment-failed.
_LONGEST_PAYMENT = timedelta(hours=12)


def form(output: str) -> str:
    """The way to print that `--output` names. Raises InputError for one there is not."""
    return options.one_of("--output", output, _FORMS)


def listed(found: Sequence[Details], region: str, form: str = "table") -> None:
    """The blocks bought in a region, in one of the forms above."""
    if form == "json":
        display.say(export_reservations.list_as_json(found, region))
    elif not found:
        display.say(f"No Capacity Block in {region}.")
    else:
        display.fitting_table(reservations_table.layouts(found))
        for line in reservations_table.notes(found):
            display.say(line)


def described(found: Details, form: str = "table") -> None:
    """One reservation in full, in one of the forms above."""
    if form == "json":
        display.say(export_reservations.as_json(found))
    else:
        display.facts(_facts(found))


def cancellation(*, yes: bool = False) -> Callable[[Reservation], bool]:
    """The question before an on-demand reservation is cancelled."""

    def ask(reservation: Reservation) -> bool:
        display.note(
            f"{reservation.id}: {reservation.count} x {reservation.instance_type} on demand in {reservation.zone},"
            f" {reservation.available} free; {reservation.state}: {reservation.outlook}."
        )
        return yes or display.confirm(
            f"Cancel {reservation.id}? What runs on it goes on running, and on being charged.",
            otherwise="Add --yes to cancel it without being asked.",
            unchanged="Nothing was cancelled.",
        )

    return ask


def cancelled(reservation: Reservation, done: bool) -> None:
    """The last word on a cancellation; not `done`, it had ended already."""
    if not done:
        display.say(f"{reservation.id} is {reservation.state} already: there is nothing to cancel.")
        return
    display.say(f"{reservation.id} is {reservation.state}. Instances that ran on it run on, as on-demand instances.")


def tried_out(reservation: Reservation) -> None:
    """The last word on a dry run of a cancellation."""
    if reservation.state in GONE:
        cancelled(reservation, False)
    else:
        display.say(f"{reservation.id} is {reservation.state}: you may cancel it. Nothing was cancelled (dry run).")


def _facts(found: Details) -> list[tuple[str, str]]:
    one = found.reservation
    facts = [
        ("Reservation", one.id),
        ("Kind", _kind(one)),
        ("State", reservations_table.status(one, ": ")),
        ("Payment", _payment(one)),
        ("Capacity", f"{one.count} x {one.instance_type}{f', {one.available} free' if one.is_open else ''}"),
        ("Running on it", _running(found.instances)),
        ("Health", _health(found.health)),
        ("Zone", f"{one.zone} ({one.zone_id})" if one.zone_id else one.zone),
        ("Start", when(one.start)),
        ("Instances end", when(one.reclaimed) if one.reclaimed and one.state not in NEVER_PAID else ""),
        ("End", when(one.end)),
        ("Extendable", _extendable(found)),
        ("Extensions", _extensions(found.extensions)),
        ("Price", _price(one) if one.is_block else ""),
        ("Platform", one.platform),
        ("Owner", one.owner),
        ("ARN", one.arn),
        ("Tags", "\n".join(f"{key} = {value}" for key, value in sorted(one.tags.items())) or "none"),
    ]
    return [(name, value) for name, value in facts if value]


def _kind(one: Reservation) -> str:
    if not one.is_block:
        return "On-demand Capacity Reservation"
    return "Capacity Block of UltraServers" if one.is_ultraserver else "Capacity Block"


def _payment(one: Reservation) -> str:
    """What a payment that is not through means; empty for one that is."""
    if one.state == "payment-failed":
        return "AWS could not charge the price within 12 hours; check the payment method (Billing console), buy again"
    if one.state != "payment-pending":
        return ""
    until = f" until {when(one.created + _LONGEST_PAYMENT)} at the latest" if one.created else ""
    return f"under way{until}; only if it fails is the block lost"


def _price(one: Reservation) -> str:
    if one.state in NEVER_PAID:
        paid = "not paid"
    else:
        paid = "payment under way" if one.state == "payment-pending" else "paid upfront"
    return f"{one.fee}, {paid}" if one.fee else f"{paid}: see the AWS bill"


def _running(instances: Sequence[Instance] | Unreadable) -> str:
    if isinstance(instances, Unreadable):
        return str(instances)
    return "\n".join(_instance(one) for one in instances) or "nothing"


def _instance(one: Instance) -> str:
    return f"{one.id} {one.state}, launched {when(one.launched)}" if one.launched else f"{one.id} {one.state}"


def _health(health: Health | Unreadable | None) -> str:
    if health is None or isinstance(health, Unreadable):
        return str(health or "")
    return reservations_table.health_in_words(health)


def _extendable(found: Details) -> str:
    """When an extension can be bought, and with what; empty for what is not extended any more."""
    one, window = found.reservation, found.extension_window
    if window is None:
        return ""
    opens, closes = window
    if one.seen > closes:
        return f"no longer: AWS sold extensions until {when(closes)}"
    if one.seen < opens:
        return f"from {when(opens)}, in {duration(opens - one.seen)}, until {when(closes)}"
    return (
        f"until {when(closes)}, {duration(closes - one.seen)} left:\n"
        f"invoke cb.extend --reservation-id {quoted(one.id)} -d 24 -r {one.region}"
    )


def _extensions(made: Sequence[Extension] | Unreadable | None) -> str:
    if made is None or isinstance(made, Unreadable):
        return str(made or "")
    lines = (
        f"{one.hours} h to {when(one.end)} for {price(one.fee, one.currency)}: {one.status.replace('-', ' ')}"
        for one in made
    )
    return "\n".join(lines) or "none"
