"""Errors for refused searches, purchases and extensions of Capacity Blocks: what the refusal means, and what to do.

Codes: EC2 API reference, "Error codes"; quotas: EC2 user guide, "Capacity Blocks quotas". Seen on AWS: the text for a
type that is not sold, and the search limit as the response to accounts whose quota is 0. Which codes an extension's
offering has is not documented.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torchneuron.aws import quotas
from torchneuron.aws.errors import SEARCH_LIMIT
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import (
    AccessError,
    AwsError,
    InputError,
    PurchaseError,
    TorchNeuronError,
    UnreachableError,
)

_NOT_SOLD = ("Unsupported", "UnsupportedOperation")
_INVALID = ("InvalidParameterValue", "InvalidParameterCombination", "InvalidParameter")
# EC2's response in a region that the account has not enabled.
_NOT_ENABLED = ("AuthFailure", "OptInRequired")
_WHERE_SOLD = (
    "trn2.3xlarge is sold in sa-east-1 and ap-southeast-4, trn2.48xlarge in us-east-2,"
    " trn1.32xlarge in several regions but not sa-east-1; inf2 is not sold as blocks."
    " Add -r all to search every enabled region."
)
_OFFERING = {
    "InvalidCapacityBlockOfferingIdExpired": "the offering is no longer on sale",
    "InvalidCapacityBlockOfferingIdNotFound": "AWS does not know this offering",
    "InvalidCapacityBlockOfferingIdMalformed": "this is not an offering's id",
}
_NO_CAPACITY = ("InsufficientCapacity", "InsufficientInstanceCapacity", "InsufficientReservedInstanceCapacity")
_LIMITS = ("InstanceLimitExceeded", "VcpuLimitExceeded")
_ACCOUNT = {
    "PendingVerification": (
        "AWS is still verifying this account",
        "Verification usually takes up to 4 hours. Buy again then; if it takes longer, contact AWS Support.",
    ),
    "Blocked": (
        "AWS has blocked this account",
        "Look for mail from AWS about the account, or contact AWS Support.",
    ),
}


class NotSoldError(InputError):
    """AWS does not sell the instance type as Capacity Blocks in that region."""


@dataclass(frozen=True)
class Refusal:
    """A search that failed, and its error."""

    request: SearchRequest
    error: TorchNeuronError


def explain_search_error(error: AwsError, request: SearchRequest) -> TorchNeuronError:
    """The error to raise for a search that AWS refused."""
    instance_type, region = request.instance_type, request.region
    if error.code == SEARCH_LIMIT:
        return AwsError(
            f"Rate limit reached for Capacity Block searches in {region}.",
            code=error.code,
            why="Either there were too many searches (AWS does not publish the limit), or the account's quota for this"
            f" family's Capacity Blocks is 0, its default. {error.why}",
            do="Wait a minute and search again. If it fails again, request a higher quota in Service Quotas:"
            f" {quota(instance_type)}.",
        )
    if error.code in _NOT_SOLD or (error.code in _INVALID and "not supported" in error.why.lower()):
        return NotSoldError(
            f"AWS does not sell {instance_type} as Capacity Blocks in {region}.", why=error.why, do=_WHERE_SOLD
        )
    if error.code in _INVALID:
        return InputError(f"AWS refuses this search for {instance_type} in {region}.", why=error.why)
    return error


def explain_purchase_error(error: AwsError, instance_type: str) -> TorchNeuronError:
    """The error to raise for a block that was not bought."""
    search_again = "Search again with invoke cb.search."
    if reason := _OFFERING.get(error.code):
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do=search_again)
    return _not_bought(error, instance_type, search_again)


def explain_extension_error(error: AwsError, instance_type: str) -> TorchNeuronError:
    """The error to raise for an extension that was not bought."""
    return _not_bought(error, instance_type, "Run the same command again: it shows the current offer and its price.")


def _not_bought(error: AwsError, instance_type: str, do: str) -> TorchNeuronError:
    if isinstance(error, AccessError):
        return AccessError(f"Nothing was bought. {error.what}", code=error.code, why=error.why, do=error.do)
    if error.code in _NO_CAPACITY:
        return PurchaseError("Nothing was bought: the capacity is no longer available.", why=error.why, do=do)
    if error.code in _LIMITS:
        return PurchaseError(
            "Nothing was bought: the purchase would exceed this account's quota.",
            why=error.why,
            do=f"Request a higher quota in Service Quotas: {quota(instance_type)}. Then buy again.",
        )
    if known := _ACCOUNT.get(error.code):
        reason, do = known
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do=do)
    return PurchaseError(f"Nothing was bought. {error.what}", why=error.why, do=error.do or do)


def combined_error(refused: Sequence[Refusal]) -> TorchNeuronError:
    """One error for a search that failed everywhere: the one a user can act on first, with the others in its `why`."""
    first = min(refused, key=lambda refusal: _rank(refusal.error)).error
    if isinstance(first, NotSoldError):
        return _sold_nowhere(refused)
    rest = [refusal for refusal in refused if refusal.error is not first]
    why = "\n".join([first.why, *summary(rest)]).strip()
    if isinstance(first, AwsError):
        return type(first)(first.what, code=first.code, why=why, do=first.do)
    return InputError(first.what, why=why, do=first.do)


def summary(refused: Iterable[Refusal], searched: Collection[str] = ()) -> list[str]:
    """A line for each reason, with its regions; `searched` are all regions of the search."""
    lines: dict[tuple[str, str], list[str]] = {}
    for refusal in refused:
        regions = lines.setdefault(_reason(refusal), [])
        if refusal.request.region not in regions:
            regions.append(refusal.request.region)
    everywhere = f"all {len(searched)} regions searched"
    return [
        f"{before} in: {everywhere if 3 < len(searched) == len(regions) else ', '.join(regions)}{after}"
        for (before, after), regions in lines.items()
    ]


def _reason(refusal: Refusal) -> tuple[str, str]:
    """The reason as the text before and after `in: REGIONS`, the same for all refusals to be listed together."""
    error, instance_type = refusal.error, refusal.request.instance_type
    if isinstance(error, NotSoldError):
        return (f"{instance_type} is not sold", "")
    if isinstance(error, AwsError) and error.code == SEARCH_LIMIT:
        return ("Search incomplete", f" (rate limit, or a quota of 0 in Service Quotas: {quota(instance_type)})")
    if isinstance(error, AwsError) and error.code in _NOT_ENABLED:
        return ("Not searched", " (not enabled for this account, or wrong credentials)")
    if isinstance(error, AccessError):
        return ("Not searched", f" ({error.what})")
    if isinstance(error, UnreachableError):
        return ("Not searched", " (no response from AWS)")
    return (f"Search for {instance_type} refused", f" ({error.why or error.what})")


def _sold_nowhere(refused: Sequence[Refusal]) -> TorchNeuronError:
    if len({(refusal.request.instance_type, refusal.request.region) for refusal in refused}) == 1:
        return refused[0].error
    searched = {refusal.request.region for refusal in refused}
    why = "\n".join(summary(refused, searched))
    return NotSoldError("AWS sells none of these types as Capacity Blocks there.", why=why, do=_WHERE_SOLD)


def _rank(error: TorchNeuronError) -> int:
    if isinstance(error, AccessError):
        return 0
    if isinstance(error, AwsError):
        return 1 if error.code == SEARCH_LIMIT else 2
    return 4 if isinstance(error, NotSoldError) else 3


def quota(instance_type: str) -> str:
    """The name, and for some families the code, of the quota for blocks of a type."""
    known = quotas.for_blocks(instance_type)
    return (
        f'EC2, "{known.name}", {known.code}'
        if known
        else 'EC2, the one of this family with "Capacity Blocks" in its name'
    )
