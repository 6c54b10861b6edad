"""What the `cb.*` commands do: one function for each Invoke task."""

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
    show_offerings,
    show_purchase,
    show_reservations,
    show_saved,
    show_waiting,
    shown,
    waiting,
)
from torchneuron.capacity_blocks import extend as extending
from torchneuron.capacity_blocks import purchase as purchasing
from torchneuron.capacity_blocks import search as searching
from torchneuron.capacity_blocks.extend import ExtensionRequest
from torchneuron.capacity_blocks.extensions import PENDING, Extension
from torchneuron.capacity_blocks.launch_check import Launch
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.options import (
    CancelOptions,
    DescribeOptions,
    ExtendOptions,
    ListOptions,
    LoadOptions,
    PurchaseOptions,
    SaveOptions,
    WaitOptions,
)
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.query import SearchOptions
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.core import config, display
from torchneuron.core.config import Config
from torchneuron.core.errors import PurchaseError, TorchNeuronError
from torchneuron.core.options import aws_id
from torchneuron.core.text import quoted


def search(options: SearchOptions) -> None:
    """`cb.search`."""
    output = show_offerings.form(options.output, suggest=options.suggest)
    settings = config.load()
    request = query.read(
        options,
        default_type=settings.default_instance_type,
        default_region=settings.default_region,
        now=once.utc_now(),
    )
    # For `all`, any region can list the enabled ones.
    aws = Aws(request.regions[0] if request.regions else settings.default_region)
    results = searching.search_all(aws, request, suggest=options.suggest)
    shown.remember(settings.state_dir, show_offerings.show(results, output), once.utc_now())


def purchase(options: PurchaseOptions) -> None:
    """`cb.purchase`."""
    settings = config.load()
    request = PurchaseRequest.from_options(settings, options)
    aws = Aws(request.search.region)
    payer = account.current(aws)
    find_problems = functools.partial(_launch_problems, aws, settings)
    if options.dry_run:
        if offering := purchasing.try_out(aws.ec2(), aws.ec2_once(), request):
            show_purchase.show_purchase_dry_run(offering, payer, find_problems)
        return
    approve = show_purchase.confirm_purchase(payer, yes=options.yes, anyway=options.anyway, find_problems=find_problems)
    block = purchasing.purchase(aws.ec2(), aws.ec2_once(), request, approve=approve, sleep=time.sleep)
    show_purchase.show_bought(block)
    if not options.no_save:
        _save_bought(aws, block, yes=options.yes)


def extend(options: ExtendOptions) -> None:
    """`cb.extend`."""
    aws_id("--reservation-id", options.reservation_id, "cr")
    settings, aws = _start(options.region)
    request = ExtensionRequest(
        options.reservation_id, aws.region, options.duration, settings.state_dir, options.max_price
    )
    request.check_hours()
    payer = account.current(aws)
    if options.dry_run:
        if offering := extending.try_out(aws.ec2(), aws.ec2_once(), request):
            show_purchase.show_extension_dry_run(offering, payer)
        return

    def report(extension: Extension, block: Reservation) -> None:
        show_purchase.show_extended(extension, block)
        if not options.no_save and extension.status != PENDING:
            _save_new_end(aws, extension)

    approve = show_purchase.confirm_extension(payer, yes=options.yes)
    extending.extend(aws.ec2(), aws.ec2_once(), request, approve=approve, report=report, sleep=time.sleep)


def list_blocks(options: ListOptions) -> None:
    """`cb.list`."""
    output = show_reservations.check_output(options.output)
    _, aws = _start(options.region)
    show_reservations.show_list(details.list_blocks(aws.ec2(), aws.region), aws.region, output)


def describe(options: DescribeOptions) -> None:
    """`cb.describe`."""
    output = show_reservations.check_output(options.output)
    reservation_id = aws_id("--reservation-id", options.reservation_id, "cr")
    _, aws = _start(options.region)
    show_reservations.show_one(details.describe(aws.ec2(), aws.region, reservation_id), output)


def cancel(options: CancelOptions) -> None:
    """`cb.cancel`."""
    reservation_id = aws_id("--reservation-id", options.reservation_id, "cr")
    _, aws = _start(options.region)
    if options.dry_run:
        show_reservations.show_dry_run(cancelling.try_out(aws.ec2(), aws.region, reservation_id))
        return
    approve = show_reservations.confirm_cancellation(yes=options.yes)
    show_reservations.show_cancelled(*cancelling.cancel(aws.ec2(), aws.region, reservation_id, approve=approve))


def save_params(options: SaveOptions) -> None:
    """`cb.save-params`."""
    reservation_id = aws_id("--reservation-id", options.reservation_id, "cr")
    subnet = aws_id("--subnet-id", options.subnet_id, "subnet") if options.subnet_id else ""
    vpc = aws_id("--vpc-id", options.vpc_id, "vpc") if options.vpc_id else ""
    settings, aws = _start(options.region)
    if options.dry_run:
        block, _ = saved_block.look_up(aws.ec2(), aws.ssm(), aws.region, reservation_id, subnet, vpc_id=vpc)
        show_saved.show_dry_run(block)
        return
    block = saved_block.save(
        aws.ec2(), aws.ssm(), aws.region, reservation_id, subnet, project=settings.project_name, vpc_id=vpc
    )
    show_saved.show(block)
    if block.replaced:
        show_saved.show_replaced(block)


def load_params(options: LoadOptions) -> None:
    """`cb.load-params`."""
    output = show_saved.check_output(options.output)
    try:
        _, aws = _start(options.region)
        block = saved_block.load(aws.ssm(), aws.region)
    except (TorchNeuronError, KeyboardInterrupt):
        show_saved.show_failure(options.region, output)
        raise
    show_saved.show(block, output)


def wait(options: WaitOptions) -> None:
    """`cb.wait`."""
    goal = show_waiting.check_goal(options.until)
    if options.reservation_id:
        aws_id("--reservation-id", options.reservation_id, "cr")
    _, aws = _start(options.region)
    block_id = options.reservation_id or block_choice.current_id(aws)
    with show_waiting.reporting(block_id, goal) as report:
        # The client without retries: botocore would retry for minutes without output when the network is down.
        block = waiting.wait(
            aws.ec2_once(), aws.region, block_id, goal, sleep=time.sleep, now=once.utc_now, report=report
        )
    show_waiting.show_reached(block)


def _launch_problems(aws: Aws, settings: Config, offering: Offering) -> list[TorchNeuronError]:
    """What would keep instances from being launched on the block."""
    launch = Launch(offering.instance_type, max(offering.count, 1), zone=offering.zone, on_block=True)
    with display.waiting("Checking whether an instance can be launched there"):
        return launch_check.problems(aws, settings, launch)


def _save_bought(aws: Aws, block: Reservation, *, yes: bool) -> None:
    """Save the block, after asking. A saved block that can take instances earlier stays saved.

    Raises PurchaseError on failure: the message must not read as if nothing had been bought.
    """
    try:
        if kept := block_choice.saved_block_to_keep(aws, block):
            show_saved.show_kept(kept, block)
        elif yes or _confirm_save(aws, block):
            save_params(SaveOptions(reservation_id=block.id, region=block.region))
    except TorchNeuronError as error:
        raise PurchaseError(
            f"{block.id} is bought, but was not saved to Parameter Store. {error.what}",
            why=error.why,
            do=f"{error.do}\nThen save it: {_save_command(block.id, block.region)}".strip(),
        ) from error


def _confirm_save(aws: Aws, block: Reservation) -> bool:
    saved = saved_block.saved_id(aws.ssm(), aws.region)
    instead = f" instead of {saved}" if saved not in ("", block.id) else ""
    question = f"Save it to Parameter Store{instead}, for invoke deploy --use-capacity-block in {aws.region}?"
    return display.confirm(question, default=True, otherwise="")


def _save_new_end(aws: Aws, extension: Extension) -> None:
    """Save the block's new end if it is the saved block.

    Raises PurchaseError on failure: the message must not read as if nothing had been bought.
    """
    try:
        if saved_block.update_end(aws.ssm(), aws.region, extension.reservation_id, extension.end):
            display.say("Its new end is saved in Parameter Store.")
    except TorchNeuronError as error:
        # Without the error's own remedy: it may be to run the same command again, which would buy another extension.
        raise PurchaseError(
            f"{extension.reservation_id} is extended, but its new end was not saved to Parameter Store. {error.what}",
            why=error.why,
            do=f"Fix that, then save it: {_save_command(extension.reservation_id, aws.region)}",
        ) from error


def _save_command(reservation_id: str, region: str) -> str:
    return f"invoke cb.save-params --reservation-id {quoted(reservation_id)} -r {region}"


def _start(region: str) -> tuple[Config, Aws]:
    """The settings, and AWS in `region` or the default region. Any region will do: blocks are sold in more of them
    than the settings deploy to.
    """
    settings = config.load()
    return settings, Aws(region or settings.default_region)
