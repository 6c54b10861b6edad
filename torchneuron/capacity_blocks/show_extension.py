"""What `cb.extend` prints, and what it asks before money is spent."""

from __future__ import annotations

from collections.abc import Callable

from torchneuron import display
from torchneuron.capacity_blocks.extensions import Extension, ExtensionOffering
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.rules import days, reclaimed_before_end
from torchneuron.capacity_blocks.words import price, when


def agreement(*, yes: bool) -> Callable[[ExtensionOffering, Reservation], bool]:
    """The question before an extension is bought: shows what it changes, asks unless `yes`."""

    def ask(offering: ExtensionOffering, block: Reservation) -> bool:
        offered(offering, block)
        return yes or display.confirm(
            f"Extend {block.id} for {price(offering.fee, offering.currency)}? It is paid now, in full, never refunded.",
            otherwise="Add --yes to buy it without being asked.",
        )

    return ask


def offered(offering: ExtensionOffering, block: Reservation) -> None:
    """What an extension would change, and what it costs."""
    taken_back = reclaimed_before_end(block.instance_type, ultraserver=block.is_ultraserver)
    per_hour = offering.fee / block.count / offering.hours if block.count else offering.fee / offering.hours
    display.facts(
        [
            ("Reservation", f"{block.id}, {block.count} x {block.instance_type} in {block.zone}"),
            ("Ends now at", when(offering.start)),
            ("Would end at", when(offering.end)),
            ("Instances end", when(offering.end - taken_back)),
            ("More time", days(offering.hours)),
            ("Price", f"{price(offering.fee, offering.currency)}, paid now, {per_hour:.2f} an instance-hour"),
        ]
    )


def tried_out(offering: ExtensionOffering, block: Reservation) -> None:
    """The last word on a dry run."""
    offered(offering, block)
    display.say("AWS would sell it to you (dry run). Nothing was bought.")


def extended(extension: Extension, block: Reservation) -> None:
    """The last word on an extension: `block` as it is now."""
    if extension.status == "payment-pending":
        display.say(
            f"{block.id} ends at {when(block.end)} for now. Its extension to {when(extension.end)} is bought and being"
            " paid: AWS gives that up to 12 hours, but no longer than until 35 minutes before the end."
        )
        display.say(f"See how it goes: invoke cb.describe --reservation-id {block.id} -r {block.region}")
        return
    display.say(f"{block.id} now ends at {when(block.end)}; {block.outlook}.")
