"""The output of `cb.save-params` and `cb.load-params`: the saved block as a table, shell code or JSON."""

from __future__ import annotations

from torchneuron.capacity_blocks import saved_block
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.saved_block import SavedBlock
from torchneuron.core import display, options

_OUTPUTS = ("table", "shell", "json")


def check_output(output: str) -> str:
    """The value of `--output`. Raises InputError for an unknown one."""
    if output == "text":  # the former name of `table`
        return "table"
    return options.one_of("--output", output, _OUTPUTS)


def show(block: SavedBlock, output: str = "table") -> None:
    """The values in Parameter Store."""
    if output == "shell":
        display.say(saved_block.as_shell(block))
    elif output == "json":
        display.say(saved_block.as_json(block))
    else:
        display.say("Parameter Store has:")
        display.facts((name, value or "(not saved)") for name, value in block.values.items())


def show_replaced(block: SavedBlock) -> None:
    display.note(f"It replaces {block.replaced}, which was saved for {block.region} before.")


def show_dry_run(block: SavedBlock) -> None:
    display.facts([(name, value) for name, value in block.values.items() if value])
    if block.replaced:
        display.note(f"It would replace {block.replaced}, which is saved for {block.region} now.")
    display.note("Dry run. Nothing was saved.")


def show_kept(saved: Reservation, bought: Reservation) -> None:
    """Why the saved block stays, and when the new one is used."""
    display.say(
        f"{saved.id} stays saved for {saved.region}: {saved.state}, {saved.outlook}.\n"
        f"{bought.id} is used once {saved.id} cannot take an instance: invoke deploy --use-capacity-block"
    )


def show_failure(region: str, output: str) -> None:
    """Make a shell that evaluates the output fail: it does not see the command's exit status."""
    if output == "shell":
        display.say(saved_block.failure_as_shell(region))
