"""The output of `cb.purchase` and `cb.extend`, and the question before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from torchneuron.aws.account import Account
from torchneuron.capacity_blocks import launch_check
from torchneuron.capacity_blocks.extensions import PENDING, Extension, ExtensionOffering
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.reservations import PAYMENT_PENDING, Reservation
from torchneuron.capacity_blocks.rules import days, reclaimed_before_end
from torchneuron.core import display
from torchneuron.core.errors import InputError, TorchNeuronError
from torchneuron.core.text import duration, price, quoted, when

FindProblems = Callable[[Offering], Sequence[TorchNeuronError]]
"""Finds what would keep instances from being launched on an offering."""


def confirm_purchase(
    account: Account, *, yes: bool, anyway: bool = False, find_problems: FindProblems = lambda _: ()
) -> Callable[[Offering], bool]:
    """The question before a purchase: shows the account, the offering and its problems; asks unless `yes`.

    With `yes`, it raises InputError when no instance could be launched on the block, unless `anyway`.
    """

    def ask(offering: Offering) -> bool:
        display.facts([*account.facts, *_offering_facts(offering)])
        problems = find_problems(offering)
        if problems and yes and not anyway:
            raise InputError(
                "No instance could be launched on this block. Nothing was bought.",
                why=launch_check.format_problems(problems),
                do="Fix that first, or add --anyway to buy it regardless.",
            )
        _warn_of(problems)
        return yes or _confirm(f"Buy this block for {price(offering.fee, offering.currency)}?")

    return ask


def confirm_extension(account: Account, *, yes: bool) -> Callable[[ExtensionOffering], bool]:
    """The question before an extension: shows the account and what changes; asks unless `yes`."""

    def ask(offering: ExtensionOffering) -> bool:
        display.facts([*account.facts, *_extension_facts(offering)])
        return yes or _confirm(f"Extend {offering.block.id} for {price(offering.fee, offering.currency)}?")

    return ask


def show_bought(block: Reservation) -> None:
    display.say(
        f"{block.id} is yours: {block.count} x {block.instance_type} in {block.zone},"
        f" {when(block.start)} to {when(block.reclaimed)}; {block.outlook}."
    )
    if block.state == PAYMENT_PENDING:
        display.say("AWS may take up to 12 hours for the payment; the block is lost only if it fails.")


def show_extended(extension: Extension, block: Reservation) -> None:
    """The result of an extension. `block` is as it was before: no more calls are made once money is spent."""
    reservation_options = f"--reservation-id {quoted(block.id)} -r {block.region}"
    if extension.status == PENDING:
        display.say(
            f"{block.id} ends at {when(extension.start)} for now. Its extension to {when(extension.end)} is bought; the"
            " payment is pending. AWS allows up to 12 hours for it, until 35 minutes before the end at the latest."
        )
        display.say(f"See its status: invoke cb.describe {reservation_options}")
        display.say(f"Once it is paid, save the new end: invoke cb.save-params {reservation_options}")
        display.say("After that, invoke cb.extend buys another extension.")
        return
    display.say(
        f"{block.id} now ends at {when(extension.end)}: AWS begins to terminate its instances at"
        f" {when(extension.end - _reclaimed_before_end(block))}."
    )


def show_purchase_dry_run(offering: Offering, account: Account, find_problems: FindProblems) -> None:
    """The result of a dry run, which checks the caller's permissions."""
    display.facts([*account.facts, *_offering_facts(offering)])
    _warn_of(find_problems(offering))
    _show_dry_run()


def show_extension_dry_run(offering: ExtensionOffering, account: Account) -> None:
    """The result of a dry run, which checks the caller's permissions."""
    display.facts([*account.facts, *_extension_facts(offering)])
    _show_dry_run()


def _show_dry_run() -> None:
    display.say("It is on sale, and you may buy it (dry run). Nothing was bought.")


def _confirm(question: str) -> bool:
    return display.confirm(
        f"{question} It is paid now, in full, never refunded.",
        otherwise="Add --yes to buy it without being asked.",
        unchanged="Nothing was bought.",
    )


def _warn_of(problems: Sequence[TorchNeuronError]) -> None:
    if problems:
        display.warn(f"no instance could be launched on this block:\n{launch_check.format_problems(problems)}")


def _offering_facts(offering: Offering) -> list[tuple[str, str]]:
    opt_in = "" if offering.zone_type in ("", "availability-zone") else ": opt in to this zone before you buy"
    fee = price(offering.fee, offering.currency)
    return [
        ("Offering", offering.id),
        ("Instances", f"{offering.count} x {offering.instance_type}"),
        ("Zone", f"{offering.zone}{opt_in}"),
        ("Start", when(offering.start)),
        ("Instances end", f"{when(offering.reclaimed)}, {duration(offering.usable)} to use"),
        ("End", when(offering.end)),
        ("Price", f"{fee}, paid now, {offering.price_per_usable_hour:.2f} per usable hour"),
    ]


def _extension_facts(offering: ExtensionOffering) -> list[tuple[str, str]]:
    block = offering.block
    per_hour = offering.fee / (block.count or 1) / offering.hours
    return [
        ("Reservation", f"{block.id}, {block.count} x {block.instance_type} in {block.zone}"),
        ("Ends now at", when(offering.start)),
        ("Would end at", when(offering.end)),
        ("Instances end", when(offering.end - _reclaimed_before_end(block))),
        ("More time", days(offering.hours)),
        ("Price", f"{price(offering.fee, offering.currency)}, paid now, {per_hour:.2f} per instance-hour"),
    ]


def _reclaimed_before_end(block: Reservation) -> timedelta:
    return reclaimed_before_end(block.instance_type, ultraserver=block.is_ultraserver)
