"""What `cb.extend` prints, and what it asks before money is spent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from torchneuron.aws.account import Account
from torchneuron.capacity_blocks.extensions import PENDING, Extension, ExtensionOffering
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.rules import days, reclaimed_before_end
from torchneuron.core import display
from torchneuron.core.text import price, quoted, when


def agreement(account: Account, *, yes: bool) -> Callable[[ExtensionOffering, Reservation], bool]:
    """The question before an extension is bought: shows who pays and what it changes, asks unless `yes`."""

    def ask(offering: ExtensionOffering, block: Reservation) -> bool:
        offered(offering, block, account)
        return yes or display.confirm(
            f"Extend {block.id} for {price(offering.fee, offering.currency)}? It is paid now, in full, never refunded.",
            otherwise="Add --yes to buy it without being asked.",
            unchanged="Nothing was bought.",
        )

    return ask


def offered(offering: ExtensionOffering, block: Reservation, account: Account) -> None:
    """What an extension would change, what it costs, and who pays."""
    per_hour = offering.fee / block.count / offering.hours if block.count else offering.fee / offering.hours
    display.facts(
        [
            *account.facts,
            ("Reservation", f"{block.id}, {block.count} x {block.instance_type} in {block.zone}"),
            ("Ends now at", when(offering.start)),
            ("Would end at", when(offering.end)),
            ("Instances end", when(offering.end - _taken_back(block))),
            ("More time", days(offering.hours)),
            ("Price", f"{price(offering.fee, offering.currency)}, paid now, {per_hour:.2f} an instance-hour"),
        ]
    )


def tried_out(offering: ExtensionOffering, block: Reservation, account: Account) -> None:
    """The last word on a dry run, which EC2 answers by the caller's permissions alone."""
    offered(offering, block, account)
    display.say("It is on sale, and you may buy it (dry run). Nothing was bought.")


def extended(extension: Extension, block: Reservation) -> None:
    """The last word on an extension. `block` is as it was before; no more calls, for the money is spent."""
    named = f"--reservation-id {quoted(block.id)} -r {block.region}"
    if extension.status == PENDING:
        display.say(
            f"{block.id} ends at {when(extension.start)} for now. Its extension to {when(extension.end)} is bought and"
            " being paid: AWS gives that up to 12 hours, but no longer than until 35 minutes before the end."
        )
        display.say(f"See how it goes: invoke cb.describe {named}")
        display.say(f"Once it is paid, save the new end: invoke cb.save-params {named}")
        display.say("From then on, invoke cb.extend buys still more time.")
        return
    display.say(
        f"{block.id} now ends at {when(extension.end)}: AWS begins to terminate its instances at"
        f" {when(extension.end - _taken_back(block))}."
    )


def _taken_back(block: Reservation) -> timedelta:
    return reclaimed_before_end(block.instance_type, ultraserver=block.is_ultraserver)
