"""What `cb.save-params` and `cb.load-params` print: the block in Parameter Store, for people, shells and programs."""

from __future__ import annotations

from torchneuron.capacity_blocks import saved_block
from torchneuron.capacity_blocks.reservations import Reservation
from torchneuron.capacity_blocks.saved_block import SavedBlock
from torchneuron.core import display, options

_FORMS = ("table", "shell", "json")


def form(output: str) -> str:
    """The way to print that `--output` names. Raises InputError for one there is not."""
    if output == "text":  # what `table` was called while there were two
        return "table"
    return options.one_of("output", output, _FORMS)


def replaced(block: SavedBlock) -> None:
    """Which other reservation was saved before: what used that finds another one from now on."""
    display.note(f"It replaces {block.replaced}, which was saved for {block.region} before.")


def would_be_saved(block: SavedBlock) -> None:
    """The last word on a dry run."""
    display.facts([(name, value) for name, value in block.values.items() if value])
    if block.replaced:
        display.note(f"It would replace {block.replaced}, which is saved for {block.region} now.")
    display.note("Dry run. Nothing was saved.")


def kept(saved: Reservation, bought: Reservation) -> None:
    """Why the saved block stays, and when the one just bought is used."""
    display.say(
        f"{saved.id} stays saved for {saved.region}: {saved.state}, {saved.outlook}.\n"
        f"When it cannot take a machine, {bought.id} is used: invoke deploy --use-capacity-block"
    )


def not_saved(region: str, form: str) -> None:
    """What a shell is given when there is nothing to give: it must notice, although it sees no exit status."""
    if form == "shell":
        display.say(saved_block.nothing_as_shell(region))


def saved(block: SavedBlock, form: str = "table") -> None:
    """What Parameter Store holds, in one of the forms above."""
    if form == "shell":
        display.say(saved_block.as_shell(block))
    elif form == "json":
        display.say(saved_block.as_json(block))
    else:
        names = saved_block.Names(block.region)
        first = (names.reservation, names.subnet)
        values = block.values
        display.say("Parameter Store has:")
        display.facts(
            (name, values[name] or "(not saved)") for name in (*first, *(one for one in names.all if one not in first))
        )
