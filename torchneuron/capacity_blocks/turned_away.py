"""What it means when AWS turns away a purchase, of a block or of more time for one, and what can be done about it.

Nothing was bought then, and each message says so first. Codes: EC2 API reference, "Error codes"; those of an offering
are of blocks only, for which codes an extension's offering has is not documented.
"""

from __future__ import annotations

from torchneuron.capacity_blocks.refusals import quota
from torchneuron.core.errors import AccessError, AwsError, PurchaseError, TorchNeuronError

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
        "That takes up to 4 hours as a rule. Buy again then; if it lasts, write to AWS Support.",
    ),
    "Blocked": (
        "AWS has blocked this account",
        "Look for mail from AWS about the account, or write to AWS Support.",
    ),
}


def purchase(error: AwsError, what: str) -> TorchNeuronError:
    """The error of a block that was not bought; `what` is its instance or UltraServer type."""
    again = "Search again with invoke cb.search."
    if reason := _OFFERING.get(error.code):
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do=again)
    return _explained(error, what, again)


def extension(error: AwsError, what: str) -> TorchNeuronError:
    """The error of an extension that was not bought; `what` is the block's instance type."""
    return _explained(error, what, "The same command shows what is on sale now, and its price, before it buys.")


def _explained(error: AwsError, what: str, again: str) -> TorchNeuronError:
    if isinstance(error, AccessError):
        return AccessError(f"Nothing was bought. {error.what}", code=error.code, why=error.why, do=error.do)
    if error.code in _NO_CAPACITY:
        return PurchaseError("Nothing was bought: the capacity is not free any more.", why=error.why, do=again)
    if error.code in _LIMITS:
        return PurchaseError(
            "Nothing was bought: it would be more than this account may have.",
            why=error.why,
            do=f"Have the quota raised in Service Quotas: {quota(what)}. Then buy again.",
        )
    if known := _ACCOUNT.get(error.code):
        reason, do = known
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do=do)
    return PurchaseError(f"Nothing was bought. {error.what}", why=error.why, do=error.do or again)
