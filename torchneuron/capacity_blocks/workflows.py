"""The `cb` commands: each joins the modules that do one thing, for the Invoke task of its name."""

from __future__ import annotations

import functools
import time

from torchneuron.aws import account
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks import (
    block_choice,
    cancelling,
    details,
    launch_check,
    once,
    query,
    saved_block,
    searching,
    show_extension,
    show_offerings,
    show_purchase,
    show_reservations,
    show_saved,
    show_waiting,
    shown,
    waiting,
)
from torchneuron.capacity_blocks import extend as extending
from torchneuron.capacity_blocks import purchase as buying
from torchneuron.capacity_blocks.extend import WantedExtension
from torchneuron.capacity_blocks.extensions import PENDING, Extension
from torchneuron.capacity_blocks.launch_check import Launch
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.wanted import want
from torchneuron.core import config, display, options
from torchneuron.core.config import Config
from torchneuron.core.errors import PurchaseError, TorchNeuronError
from torchneuron.core.text import quoted


def search(*, output: str, suggest: bool, all_zones: bool, **given: str) -> None:
    """`cb.search`. `given` are options as `query.read` takes them."""
    form = show_offerings.form(output, suggest=suggest)
    settings = config.load()
    wanted = query.read(
        default_type=settings.default_instance_type,
        default_region=settings.default_region,
        now=once.utc_now(),
        all_zones=all_zones,
        **given,
    )
    # Any region will do for `all`: the first call asks which there are.
    aws = Aws(wanted.regions[0] if wanted.regions else settings.default_region)
    results = searching.search_all(aws, wanted, suggest=suggest)
    shown.remember(settings.state_dir, show_offerings.show(results, form), once.utc_now())


def purchase(
    offering_id: str,
    start_time: str,
    region: str,
    *,
    yes: bool,
    save: bool,
    dry_run: bool,
    anyway: bool,
    max_price: str,
    instance_type: str,
    ultraserver_type: str,
    duration_hours: int,
    count: int,
) -> None:
    """`cb.purchase`."""
    if offering_id:  # without one, `want` says how to find it
        options.aws_id("--offering-id", offering_id, "cb")
    settings = config.load()
    wanted = want(
        settings,
        region,
        offering_id,
        start_time=options.moment("--start-time", start_time),
        max_price=options.amount("--max-price", max_price),
        instance_type=instance_type,
        ultraserver_type=ultraserver_type,
        duration_hours=duration_hours,
        count=count,
    )
    aws = Aws(wanted.search.region)
    whose = account.look(aws)
    problems = functools.partial(_launch_problems, aws, settings)
    if dry_run:
        show_purchase.tried_out(buying.try_out(aws.ec2(), aws.ec2_once(), wanted), whose, problems)
        return
    agreed = show_purchase.agreement(whose, yes=yes, anyway=anyway, problems=problems)
    blocks = buying.purchase(aws.ec2(), aws.ec2_once(), wanted, agreed=agreed, sleep=time.sleep)
    show_purchase.bought(blocks)
    if save and len(blocks) > 1:
        show_purchase.save_one_of(blocks)
    elif save:
        _save_what_was_bought(aws, blocks[0], yes=yes)


def extend(
    reservation_id: str, duration_hours: int, region: str, *, yes: bool, save: bool, dry_run: bool, max_price: str
) -> None:
    """`cb.extend`."""
    wanted_id = options.aws_id("--reservation-id", reservation_id, "cr")
    settings, aws = _start(region)
    price = options.amount("--max-price", max_price)
    wanted = WantedExtension(wanted_id, aws.region, duration_hours, settings.state_dir, price)
    extending.check_hours(wanted)
    whose = account.look(aws)
    if dry_run:
        if trial := extending.try_out(aws.ec2(), aws.ec2_once(), wanted):
            show_extension.tried_out(*trial, whose)
        return

    def told(extension: Extension, block: Reservation) -> None:
        show_extension.extended(extension, block)
        if save and extension.status != PENDING:
            _save_new_end(aws, extension)

    agreed = show_extension.agreement(whose, yes=yes)
    extending.extend(aws.ec2(), aws.ec2_once(), wanted, agreed=agreed, told=told, sleep=time.sleep)


def list_blocks(region: str, output: str) -> None:
    """`cb.list`."""
    form = show_reservations.form(output)
    _, aws = _start(region)
    show_reservations.listed(details.of_blocks(aws.ec2(), aws.region), aws.region, form)


def describe(reservation_id: str, region: str, output: str) -> None:
    """`cb.describe`."""
    form = show_reservations.form(output)
    wanted_id = options.aws_id("--reservation-id", reservation_id, "cr")
    _, aws = _start(region)
    show_reservations.described(details.of_one(aws.ec2(), aws.region, wanted_id), form)


def cancel(reservation_id: str, region: str, *, yes: bool, dry_run: bool) -> None:
    """`cb.cancel`."""
    wanted_id = options.aws_id("--reservation-id", reservation_id, "cr")
    _, aws = _start(region)
    if dry_run:
        show_reservations.tried_out(cancelling.try_out(aws.ec2(), aws.region, wanted_id))
        return
    agreed = show_reservations.cancellation(yes=yes)
    show_reservations.cancelled(*cancelling.cancel(aws.ec2(), aws.region, wanted_id, agreed=agreed))


def save_params(reservation_id: str, subnet_id: str, region: str, *, vpc_id: str = "", dry_run: bool = False) -> None:
    """`cb.save-params`."""
    wanted_id = options.aws_id("--reservation-id", reservation_id, "cr")
    subnet = options.aws_id("--subnet-id", subnet_id, "subnet") if subnet_id else ""
    vpc = options.aws_id("--vpc-id", vpc_id, "vpc") if vpc_id else ""
    settings, aws = _start(region)
    if dry_run:
        block, _ = saved_block.look_up(aws.ec2(), aws.ssm(), aws.region, wanted_id, subnet, vpc_id=vpc)
        show_saved.would_be_saved(block)
        return
    block = saved_block.save(
        aws.ec2(), aws.ssm(), aws.region, wanted_id, subnet, project=settings.project_name, vpc_id=vpc
    )
    show_saved.saved(block)
    if block.replaced:
        show_saved.replaced(block)


def load_params(region: str, output: str) -> None:
    """`cb.load-params`."""
    form = show_saved.form(output)
    try:
        _, aws = _start(region)
        block = saved_block.load(aws.ssm(), aws.region)
    except (TorchNeuronError, KeyboardInterrupt):
        show_saved.not_saved(region, form)
        raise
    show_saved.saved(block, form)


def wait(until: str, reservation_id: str, region: str) -> None:
    """`cb.wait`."""
    goal = show_waiting.goal(until)
    wanted_id = options.aws_id("--reservation-id", reservation_id, "cr") if reservation_id else ""
    _, aws = _start(region)
    wanted_id = wanted_id or block_choice.current_id(aws)
    with show_waiting.telling(wanted_id, goal) as told:
        # The client that never retries: botocore would be silent for minutes about a network that is gone.
        block = waiting.wait(aws.ec2_once(), aws.region, wanted_id, goal, sleep=time.sleep, now=once.utc_now, told=told)
    show_waiting.arrived(block)


def _launch_problems(aws: Aws, settings: Config, offering: Offering) -> list[TorchNeuronError]:
    """What would keep machines from being launched on the block once it is bought."""
    launches = [
        Launch(part.instance_type, max(part.count, 1), zone=part.zone, on_block=True)
        for part in offering.segments or (offering,)
    ]
    with display.waiting("Checking whether a machine can be launched there"):
        return launch_check.problems(aws, settings, launches)


def _save_what_was_bought(aws: Aws, reservation: Reservation, *, yes: bool) -> None:
    """Save it, if that is wanted; a failure must not read as if nothing had been bought.

    A saved block that can take machines before this one stays saved.
    """
    try:
        if kept := block_choice.kept_instead(aws, reservation):
            show_saved.kept(kept, reservation)
        elif yes or _is_to_be_saved(aws, reservation):
            save_params(reservation.id, "", reservation.region)
    except TorchNeuronError as error:
        raise PurchaseError(
            f"{reservation.id} is bought, but was not saved to Parameter Store. {error.what}",
            why=error.why,
            do=f"{error.do}\nThen save it: {_save_later(reservation.id, reservation.region)}".strip(),
        ) from error


def _is_to_be_saved(aws: Aws, reservation: Reservation) -> bool:
    now = saved_block.saved_id(aws.ssm(), aws.region)
    instead = f" instead of {now}" if now not in ("", reservation.id) else ""
    question = f"Save it to Parameter Store{instead}, for invoke deploy --use-capacity-block in {aws.region}?"
    return display.confirm(question, default=True, otherwise="")


def _save_new_end(aws: Aws, extension: Extension) -> None:
    """Where the block is the saved one, save its new end; a failure must not read as if nothing had been bought."""
    try:
        if saved_block.update_end(aws.ssm(), aws.region, extension.reservation_id, extension.end):
            display.say("Its new end is saved in Parameter Store.")
    except TorchNeuronError as error:
        # Not the error's own way out: that may be to run the same command again, which would buy more time.
        raise PurchaseError(
            f"{extension.reservation_id} is extended, but its new end was not saved to Parameter Store. {error.what}",
            why=error.why,
            do=f"When that is put right, save it: {_save_later(extension.reservation_id, aws.region)}",
        ) from error


def _save_later(reservation_id: str, region: str) -> str:
    return f"invoke cb.save-params --reservation-id {quoted(reservation_id)} -r {region}"


def _start(region: str) -> tuple[Config, Aws]:
    """Blocks are sold in more regions than the settings deploy to, so any of AWS's will do."""
    settings = config.load()
    return settings, Aws(region or settings.default_region)
