"""The `cb` commands: each joins the modules that do one thing, for the Invoke task of its name."""

from __future__ import annotations

from datetime import datetime, timezone

from torchneuron import config, display, options, saved_block
from torchneuron.aws import Aws
from torchneuron.capacity_blocks import offerings, reservations, show_offerings, show_purchase, show_reservations, shown
from torchneuron.capacity_blocks import purchase as buying
from torchneuron.capacity_blocks.offerings import SearchRequest
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.wanted import want
from torchneuron.config import Config
from torchneuron.errors import InputError, PurchaseError, TorchNeuronError


def search(instance_type: str, duration_hours: int, region: str, count: int) -> None:
    """`cb.search`."""
    settings, aws = _start(region)
    request = SearchRequest(instance_type or settings.default_instance_type, duration_hours, count, aws.region)
    with display.waiting(f"Searching in {aws.region}"):
        found = offerings.search(aws.ec2(), request)
    shown.remember(settings.state_dir, found, datetime.now(timezone.utc))
    show_offerings.found(found, request)


def purchase(
    offering_id: str,
    start_time: str,
    region: str,
    *,
    yes: bool,
    save: bool,
    dry_run: bool,
    max_price: str,
    instance_type: str,
    duration_hours: int,
    count: int,
) -> None:
    """`cb.purchase`."""
    settings, aws = _start(region)
    wanted = want(
        settings,
        aws.region,
        offering_id,
        start_time=options.moment("--start-time", start_time),
        max_price=options.amount("--max-price", max_price),
        instance_type=instance_type,
        duration_hours=duration_hours,
        count=count,
    )
    if dry_run:
        show_purchase.tried_out(buying.try_out(aws.ec2(), aws.ec2_once(), wanted))
        return
    blocks = buying.purchase(aws.ec2(), aws.ec2_once(), wanted, agreed=show_purchase.agreement(yes=yes))
    show_purchase.bought(blocks)
    if save and len(blocks) > 1:
        show_purchase.save_one_of(blocks)
    elif save and _save_is_wanted(aws.region, yes=yes):
        _save_what_was_bought(blocks[0])


def list_blocks(region: str) -> None:
    """`cb.list`."""
    _, aws = _start(region)
    show_reservations.listed(reservations.list_blocks(aws.ec2(), aws.region), aws.region)


def describe(reservation_id: str, region: str) -> None:
    """`cb.describe`."""
    _, aws = _start(region)
    show_reservations.described(reservations.describe(aws.ec2(), aws.region, _named(reservation_id)))


def cancel(reservation_id: str, region: str, *, yes: bool) -> None:
    """`cb.cancel`."""
    _, aws = _start(region)
    agreed = show_reservations.cancellation(yes=yes)
    show_reservations.described(reservations.cancel(aws.ec2(), aws.region, _named(reservation_id), agreed=agreed))


def save_params(reservation_id: str, subnet_id: str, region: str) -> None:
    """`cb.save-params`."""
    settings, aws = _start(region)
    project = settings.project_name
    show_reservations.saved(
        saved_block.save(aws.ec2(), aws.ssm(), aws.region, _named(reservation_id), subnet_id, project=project)
    )


def load_params(region: str, output: str) -> None:
    """`cb.load-params`."""
    if output not in ("text", "shell"):
        raise InputError(f"There is no output {output!r}.", do="Give --output text or --output shell.")
    _, aws = _start(region)
    block = saved_block.load(aws.ssm(), aws.region)
    if output == "shell":
        display.say(saved_block.as_shell(block))
    else:
        show_reservations.saved(block)


def _save_is_wanted(region: str, *, yes: bool) -> bool:
    question = f"Save it to Parameter Store, for invoke deploy --use-capacity-block in {region}?"
    return yes or display.confirm(question, default=True, otherwise="Add --yes, or --no-save.")


def _save_what_was_bought(reservation: Reservation) -> None:
    """Save it; a failure must not read as if nothing had been bought."""
    save_later = f"invoke cb.save-params --reservation-id {reservation.id} -r {reservation.region}"
    try:
        save_params(reservation.id, "", reservation.region)
    except TorchNeuronError as error:
        raise PurchaseError(
            f"{reservation.id} is bought, but was not saved to Parameter Store. {error.what}",
            why=error.why,
            do=f"{error.do}\nThen save it: {save_later}".strip(),
        ) from error


def _start(region: str) -> tuple[Config, Aws]:
    """Blocks are sold in more regions than the settings deploy to, so any of AWS's will do."""
    settings = config.load()
    return settings, Aws(region or settings.default_region)


def _named(reservation_id: str) -> str:
    if not reservation_id:
        raise InputError("Which reservation? --reservation-id is missing.", do="invoke cb.list shows those you have.")
    return reservation_id
