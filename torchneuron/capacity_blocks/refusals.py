"""What it means when AWS refuses a search for Capacity Blocks, one or many of them, and what can be done about it.

Codes: EC2 API reference, "Error codes"; quotas: EC2 user guide, "Capacity Blocks quotas". The text for a type that is
not sold, and that the search limit also answers accounts whose quota is 0, were seen on AWS.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchneuron.aws import quotas
from torchneuron.aws.errors import SEARCH_LIMIT
from torchneuron.capacity_blocks.rules import ULTRASERVER_TYPES
from torchneuron.core.errors import AccessError, AwsError, InputError, TorchNeuronError, UnreachableError
from torchneuron.core.text import either

if TYPE_CHECKING:
    from torchneuron.capacity_blocks.search_request import SearchRequest

_NOT_SOLD = ("Unsupported", "UnsupportedOperation")
_REFUSED = ("InvalidParameterValue", "InvalidParameterCombination", "InvalidParameter")
# What EC2 answers in a region that the account has not enabled.
_NOT_ENABLED = ("AuthFailure", "OptInRequired")
_WHERE_SOLD = (
    "trn2.3xlarge is sold in sa-east-1 and ap-southeast-4, trn2.48xlarge in us-east-2,"
    " trn1.32xlarge in several regions but not sa-east-1; inf2 is not sold as blocks."
    " With -r all, every region you have enabled is asked."
)


_ULTRASERVERS = (
    f"The UltraServers known here are {either(ULTRASERVER_TYPES)}; AWS sells them in few regions, and on request."
    " With -r all, every region you have enabled is asked."
)


class NotSoldError(InputError):
    """AWS does not sell what was searched for in that region."""


@dataclass(frozen=True)
class Refusal:
    """A search that found out nothing, and why."""

    request: SearchRequest
    error: TorchNeuronError


def explained(error: AwsError, what: str, region: str) -> TorchNeuronError:
    """The error of a search for `what` (an instance or UltraServer type) in `region`, said for a buyer."""
    if error.code == SEARCH_LIMIT:
        return AwsError(
            f"AWS lets this account search for Capacity Blocks in {region} no further for now.",
            code=error.code,
            why="Either searches came too fast (AWS allows few, and does not say how many), or the account's quota for"
            f" this family's Capacity Blocks is 0, as it is at first. {error.why}",
            do="Wait a minute and search again. If it stays so, have the quota raised in Service Quotas:"
            f" {quota(what)}.",
        )
    if error.code in _NOT_SOLD or (error.code in _REFUSED and "not supported" in error.why.lower()):
        return NotSoldError(
            f"AWS does not sell {what} as Capacity Blocks in {region}.", why=error.why, do=_where_sold(what)
        )
    if error.code in _REFUSED:
        return InputError(f"AWS refuses this search for {what} in {region}.", why=error.why)
    if error.code == "UnauthorizedOperation" and "ultraserver" in error.why.lower():
        return AccessError(
            f"AWS does not sell UltraServers to this account in {region}.",
            code=error.code,
            why=error.why,
            do="They are sold on request: ask AWS (the account's team, or a support case) for access to them.",
        )
    return error


def most_telling(refused: Sequence[Refusal]) -> TorchNeuronError:
    """The one error to end with when every search was refused: the first that a person can do most about."""
    first = min(refused, key=lambda one: _rank(one.error)).error
    if isinstance(first, NotSoldError):
        return _sold_nowhere(refused)
    rest = [one for one in refused if one.error is not first]
    why = "\n".join([first.why, *in_lines(rest)]).strip()
    if isinstance(first, AwsError):
        return type(first)(first.what, code=first.code, why=why, do=first.do)
    return InputError(first.what, why=why, do=first.do)


def in_lines(refused: Iterable[Refusal], searched: Collection[str] = ()) -> list[str]:
    """What was refused, a line for each reason with all its regions; `searched` are all there were."""
    lines: dict[tuple[str, str], list[str]] = {}
    for one in refused:
        regions = lines.setdefault(_reason(one), [])
        if one.request.region not in regions:
            regions.append(one.request.region)
    everywhere = f"all {len(searched)} regions searched"
    return [
        f"{before} in: {everywhere if 3 < len(searched) == len(regions) else ', '.join(regions)}{after}"
        for (before, after), regions in lines.items()
    ]


def _reason(refusal: Refusal) -> tuple[str, str]:
    """Why, as the text before and after `in: REGIONS`: the same for all that are refused for the same reason."""
    error, what = refusal.error, refusal.request.what
    if isinstance(error, NotSoldError):
        return (f"{what} is not sold", "")
    if isinstance(error, AwsError) and error.code == SEARCH_LIMIT:
        return ("Not searched to the end", f" (too many searches, or a quota of 0 in Service Quotas: {quota(what)})")
    if isinstance(error, AwsError) and error.code in _NOT_ENABLED:
        return ("Not searched", " (not enabled for this account, or wrong credentials)")
    if isinstance(error, AccessError):
        return ("Not searched", f" ({error.what})")
    if isinstance(error, UnreachableError):
        return ("Not searched", " (no answer from AWS)")
    return (f"Search for {what} refused", f" ({error.why or error.what})")


def _sold_nowhere(refused: Sequence[Refusal]) -> TorchNeuronError:
    """One error for things that are sold in none of the regions."""
    if len({(one.request.what, one.request.region) for one in refused}) == 1:
        return refused[0].error
    searched = {one.request.region for one in refused}
    why = "\n".join(in_lines(refused, searched))
    return NotSoldError("AWS sells none of this as Capacity Blocks.", why=why, do=_where_sold(refused[0].request.what))


def _where_sold(what: str) -> str:
    return _ULTRASERVERS if what.startswith("u-") else _WHERE_SOLD


def _rank(error: TorchNeuronError) -> int:
    if isinstance(error, AccessError):
        return 0
    if isinstance(error, AwsError):
        return 1 if error.code == SEARCH_LIMIT else 2
    return 4 if isinstance(error, NotSoldError) else 3


def quota(what: str) -> str:
    """The quota for a type, whose name and code are known for some families; UltraServers may have others."""
    known = quotas.for_blocks(what)
    return (
        f'EC2, "{known.name}", {known.code}'
        if known
        else 'EC2, the one of this family with "Capacity Blocks" in its name'
    )
