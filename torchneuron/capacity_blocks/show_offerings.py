"""What `cb.search` prints: a table as wide as the terminal allows, a timeline, and the command to go on with."""

from __future__ import annotations

from torchneuron.capacity_blocks import refusals, suggestions, timeline
from torchneuron.capacity_blocks.export_offerings import as_csv, as_json
from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.offerings_table import layouts
from torchneuron.capacity_blocks.refusals import NotSoldError, Refusal
from torchneuron.capacity_blocks.searching import Results
from torchneuron.core import display, options
from torchneuron.core.errors import InputError
from torchneuron.core.text import either, iso, price, quoted, when

_OUTPUTS = ("table", "json", "csv")


def form(output: str, *, suggest: bool) -> str:
    """`output`, checked. Raises InputError where there is no such output, or none that can hold suggestions."""
    options.one_of("output", output, _OUTPUTS)
    if suggest and output == "csv":
        raise InputError("CSV has no place for what --suggest finds.", do="Leave one out, or take --output json.")
    return output


def show(results: Results, output: str = "table") -> list[Offering]:
    """Print the result of a search in a form that `form` allows; returns the offerings whose ids it showed."""
    if output == "json":
        display.say(as_json(results))
        return [*results.offerings, *results.dearer, *(one.offering for one in results.suggestions or ())]
    for line in refusals.in_lines(_worth_telling(results), results.regions):
        display.note(line)
    if output == "csv":
        display.say(as_csv(results).rstrip("\n"))
    elif results.offerings:
        _found(results)
    else:
        _nothing_found(results)
    return list(results.offerings)


def _worth_telling(results: Results) -> list[Refusal]:
    """All refusals; but that a type is sold in some regions only is news to nobody who asked for all of them."""
    if results.query.regions:
        return list(results.refused)
    sold = {request.what for request in results.answered}
    return [one for one in results.refused if not (isinstance(one.error, NotSoldError) and one.request.what in sold)]


def _found(results: Results) -> None:
    display.say(f"Capacity Blocks on sale: {results.query.asked(_regions(results))}.")
    display.fitting_table(layouts(results.offerings))
    if lines := timeline.lines(results.offerings, display.width(), plain=display.plain_characters()):
        display.say("\nWhen instances can run, in UTC:")
        for line in lines:
            display.say(line)
        display.say()
    _say_dearer(results)
    if any(one.zone_type not in ("", "availability-zone") for one in results.offerings):
        display.say("Some are in Local Zones: opt in to the zone before you buy, or nothing can be launched there.")
    best = results.offerings[0]
    display.say("Cheapest usable hour first. To buy the first one:")
    # Scripts read this line.
    display.say(
        f"  invoke cb.purchase --offering-id {quoted(best.id)}"
        f" --start-time {quoted(iso(best.start))} -r {best.search.region}"
    )


def _nothing_found(results: Results) -> None:
    query = results.query
    display.say(f"No Capacity Block on sale: {query.asked(_regions(results))}.")
    _say_dearer(results)
    if results.suggestions is None:
        display.say(f"There may be one for {_what_else(results)}; --suggest searches those nearby.")
    elif not results.suggestions:
        display.say("Nor is there any for nearby durations, smaller counts, or in other regions you have enabled.")
    else:
        display.say("On sale instead, each with its cheapest:")
        for one in results.suggestions:
            block = one.offering
            display.say(
                f"  {suggestions.difference(query, one.request)}: {price(block.fee, block.currency)},"
                f" {block.price_per_usable_hour:,.2f} a usable hour, from {when(block.start)}"
            )
            display.say(f"    {query.command(one.request)}")


def _regions(results: Results) -> list[str]:
    """The regions in which anything was searched to the end; all of them where nothing was."""
    return list(dict.fromkeys(request.region for request in results.answered)) or list(results.regions)


def _what_else(results: Results) -> str:
    """What a person could search for instead, with the options that do it."""
    query = results.query
    ideas = ["another duration (-d)"]
    if query.count > 1:
        ideas.append("a smaller count (--count)")
    if query.start_after or query.start_before:
        ideas.append("other dates (--start-after, --start-before)")
    if query.regions:
        ideas.append("other regions (-r all)")
    return either(ideas)


def _say_dearer(results: Results) -> None:
    if results.dearer:
        cheapest = min(results.dearer, key=lambda one: one.fee)
        display.say(
            f"On sale above --max-price {results.query.max_price}: {len(results.dearer)},"
            f" from {price(cheapest.fee, cheapest.currency)}."
        )
