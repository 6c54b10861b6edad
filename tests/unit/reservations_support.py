"""Reservations in every state, with instances, health and extensions, as of `capacity_fakes.NOW`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.unit.capacity_fakes import NOW, REGION, FakeEc2, refusal, reservation

ACCOUNT = "123456789012"
_SIZE_TAG = "aws:ec2capacityreservation:incrementalRequestedQuantity"


class DetailedEc2(FakeEc2):
    """`FakeEc2` with instances, health and extensions. Operations in `denied` raise UnauthorizedOperation."""

    def __init__(self, *found: dict[str, Any]) -> None:
        super().__init__()
        self.reservations = list(found)
        self.instances: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.extensions: list[dict[str, Any]] = []
        self.denied: set[str] = set()
        self.cancel_error: Exception | None = None

    def _asked(self, operation: str, request: dict[str, Any]) -> None:
        self.calls.append((operation, request))
        if operation in self.denied:
            error = refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
            error.operation_name = operation
            raise error

    def _pages_of_describe_instances(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._asked("DescribeInstances", request)
        # Like an endpoint that ignores the filter: instances on other reservations are returned as well.
        yield from ({"Reservations": [{"Instances": [instance]}]} for instance in self.instances)

    def _pages_of_describe_capacity_block_status(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._asked("DescribeCapacityBlockStatus", request)
        wanted = request["CapacityBlockIds"]
        found = [status for status in self.statuses if not wanted or status["CapacityBlockId"] in wanted]
        yield {"CapacityBlockStatuses": found}

    def _pages_of_describe_capacity_block_extension_history(self, **request: Any) -> Iterator[dict[str, Any]]:
        self._asked("DescribeCapacityBlockExtensionHistory", request)
        wanted = request["CapacityReservationIds"]
        yield {"CapacityBlockExtensions": [made for made in self.extensions if made["CapacityReservationId"] in wanted]}

    def cancel_capacity_reservation(self, **request: Any) -> dict[str, Any]:
        if self.cancel_error:
            self.calls.append(("CancelCapacityReservation", request))
            raise self.cancel_error
        return super().cancel_capacity_reservation(**request)


def a_block(number: int, state: str, start: datetime, *, days: int = 1, **changes: Any) -> dict[str, Any]:
    """A block with every member. `changes` may have `tags` and `size` besides EC2's members."""
    reservation_id = f"cr-{number:017x}"
    tags = {_SIZE_TAG: str(changes.pop("size", 1)), **changes.pop("tags", {})}
    return reservation(
        reservation_id,
        state,
        **{
            "CapacityReservationArn": f"arn:aws:ec2:{REGION}:{ACCOUNT}:capacity-reservation/{reservation_id}",
            "OwnerId": ACCOUNT,
            "AvailabilityZoneId": "sae1-az2",
            "CapacityBlockId": f"cb-{number:017x}",
            "StartDate": start,
            "EndDate": start + timedelta(days=days),
            "CreateDate": min(start - timedelta(days=3), NOW - timedelta(days=2)),
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            **changes,
        },
    )


def an_instance(number: int, reservation_id: str, state: str = "running") -> dict[str, Any]:
    return {
        "InstanceId": f"i-{number:017x}",
        "CapacityReservationId": reservation_id,
        "State": {"Name": state},
        "LaunchTime": NOW - timedelta(hours=number),
    }


def a_status(block: dict[str, Any], interconnect: str = "ok", *, unavailable: int = 0) -> dict[str, Any]:
    total = block["TotalInstanceCount"]
    counts = {"TotalCapacity": total, "TotalAvailableCapacity": total - unavailable}
    return {
        "CapacityBlockId": block["CapacityBlockId"],
        "InterconnectStatus": interconnect,
        **counts,
        "TotalUnavailableCapacity": unavailable,
        "CapacityReservationStatuses": [{"CapacityReservationId": block["CapacityReservationId"], **counts}],
    }


def an_extension(block: dict[str, Any], status: str = "payment-succeeded", *, hours: int = 24) -> dict[str, Any]:
    """An extension of a block up to its current end."""
    return {
        "CapacityReservationId": block["CapacityReservationId"],
        "CapacityBlockExtensionOfferingId": "cbe-0123456789abcdef0",
        "CapacityBlockExtensionStartDate": block["EndDate"] - timedelta(hours=hours),
        "CapacityBlockExtensionEndDate": block["EndDate"],
        "CapacityBlockExtensionDurationHours": hours,
        "CapacityBlockExtensionStatus": status,
        "UpfrontFee": "53.64",
        "CurrencyCode": "USD",
    }


_TOGETHER_TAGS = {
    "torchneuron:upfront-fee": "42000 USD",
    "torchneuron:upfront-fee-covers": "2 UltraServers",
}
_OUR_TAGS = {"torchneuron:upfront-fee": "1053.64 USD", "Team": "[red]", "Name": ""}
_TODAY = NOW.replace(hour=11, minute=30)

SCHEDULED = a_block(1, "scheduled", _TODAY + timedelta(days=2), tags=_OUR_TAGS)
ACTIVE = a_block(
    2,
    "active",
    _TODAY - timedelta(days=3),
    days=4,
    TotalInstanceCount=4,
    AvailableInstanceCount=2,
    InstanceType="trn2.48xlarge",
    tags=_OUR_TAGS,
)
ENDING = a_block(3, "active", NOW.replace(hour=9, minute=20) - timedelta(days=1), TotalInstanceCount=1)
PENDING = a_block(
    4, "payment-pending", _TODAY + timedelta(days=1), tags=_OUR_TAGS, size=16, CreateDate=NOW - timedelta(hours=1)
)
UNPAID = a_block(5, "payment-failed", _TODAY + timedelta(days=1), tags=_OUR_TAGS)
EXPIRED = a_block(6, "expired", _TODAY - timedelta(days=3), tags=_OUR_TAGS)
LONG = a_block(7, "scheduled", _TODAY + timedelta(days=10), days=182)
ULTRASERVERS = a_block(
    8,
    "active",
    _TODAY - timedelta(days=1),
    days=2,
    TotalInstanceCount=4,
    AvailableInstanceCount=4,
    InstanceType="trn2u.48xlarge",
    LaunchStatus="launchable",
    tags=_TOGETHER_TAGS,
)
UNAVAILABLE = a_block(9, "unavailable", _TODAY - timedelta(days=1), days=14, TotalInstanceCount=1)
ON_DEMAND = reservation(
    "cr-0123456789abcdef0",
    "active",
    ReservationType="default",
    TotalInstanceCount=2,
    AvailableInstanceCount=1,
    StartDate=NOW - timedelta(days=5),
    CreateDate=NOW - timedelta(days=5),
    EndDate=None,
    OwnerId=ACCOUNT,
    Tags=[],
)
EVERY = {
    "scheduled": SCHEDULED,
    "active": ACTIVE,
    "ending": ENDING,
    "payment-pending": PENDING,
    "payment-failed": UNPAID,
    "expired": EXPIRED,
    "long": LONG,
    "ultraservers": ULTRASERVERS,
    "unavailable": UNAVAILABLE,
    "on-demand": ON_DEMAND,
}


def everything() -> DetailedEc2:
    """An EC2 with all of them: two instances on the active block, one on the ending block, one on demand."""
    ec2 = DetailedEc2(*(dict(raw) for raw in EVERY.values()))
    active, ending = ACTIVE["CapacityReservationId"], ENDING["CapacityReservationId"]
    ec2.instances = [
        an_instance(20, active),
        an_instance(3, active, "pending"),
        an_instance(4, active, "terminated"),
        an_instance(5, ending, "shutting-down"),
        an_instance(6, "cr-of-another"),
        {"InstanceId": "i-on-none"},
        an_instance(7, ON_DEMAND["CapacityReservationId"]),
    ]
    ec2.statuses = [
        a_status(ACTIVE, "impaired", unavailable=1),
        a_status(ENDING),
        a_status(ULTRASERVERS),
        a_status(SCHEDULED, "insufficient-data"),
    ]
    ec2.extensions = [an_extension(ACTIVE), an_extension(ENDING, "payment-failed")]
    return ec2
