"""An EC2 in memory: enough to search, buy, list and cancel, and to lose a response on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ClientError

from tests.fakes import StandIn

REGION = "sa-east-1"
ZONE = "sa-east-1b"
NOW = datetime(2026, 1, 10, 9, 0, tzinfo=timezone.utc)
START = datetime(2026, 1, 12, 11, 30, tzinfo=timezone.utc)


def refusal(code: str, message: str = "refused by the fake", status: int = 400) -> ClientError:
    """The exception that botocore raises for an error response."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Fake")


def offering(
    offering_id: str = "cb-1", *, fee: str = "53.64", start: datetime = START, **changes: Any
) -> dict[str, Any]:
    """An offering in EC2's shape."""
    return {
        "CapacityBlockOfferingId": offering_id,
        "InstanceType": "trn2.3xlarge",
        "AvailabilityZone": ZONE,
        "InstanceCount": 1,
        "StartDate": start,
        "EndDate": start + timedelta(hours=24),
        "CapacityBlockDurationHours": 24,
        "CapacityBlockDurationMinutes": 0,
        "UpfrontFee": fee,
        "CurrencyCode": "USD",
        **changes,
    }


def reservation(reservation_id: str = "cr-1", state: str = "scheduled", **changes: Any) -> dict[str, Any]:
    """A Capacity Block before its start, in EC2's shape."""
    return {
        "CapacityReservationId": reservation_id,
        "InstanceType": "trn2.3xlarge",
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": ZONE,
        "TotalInstanceCount": 0,
        "AvailableInstanceCount": 0,
        "State": state,
        "StartDate": START,
        "EndDate": START + timedelta(hours=24),
        "CreateDate": NOW,
        "ReservationType": "capacity-block",
        "Tags": [{"Key": "aws:ec2capacityreservation:incrementalRequestedQuantity", "Value": "1"}],
        **changes,
    }


class FakeEc2(StandIn):
    """Holds offerings, reservations and subnets; `calls` are the operations called, in order.

    A purchase raises `lose`: before it takes effect if `lose_before`, else after. `on_describe` runs before each
    description of reservations.
    """

    def __init__(self, offerings: list[dict[str, Any]] | None = None) -> None:
        self.offerings = offerings or []
        self.reservations: list[dict[str, Any]] = []
        self.vpcs: list[dict[str, Any]] = []
        self.subnets: list[dict[str, Any]] = []
        self.closed: set[str] = set()
        self.endpoints: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.lose: BaseException | None = None
        self.lose_before = False
        self.search_error: Exception | None = None
        self.on_describe: Callable[[], None] = lambda: None
        self.state_when_bought = "scheduled"

    def operations(self) -> list[str]:
        return [name for name, _ in self.calls]

    def get_paginator(self, operation: str) -> _Paginator:
        return _Paginator(getattr(self, f"_pages_of_{operation}"))

    def _pages_of_describe_capacity_block_offerings(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.calls.append(("DescribeCapacityBlockOfferings", request))
        if self.search_error:
            raise self.search_error
        yield from [{"CapacityBlockOfferings": [offered]} for offered in self.offerings] or [
            {"CapacityBlockOfferings": []}
        ]

    def _pages_of_describe_capacity_reservations(self) -> Iterator[dict[str, Any]]:
        self.calls.append(("DescribeCapacityReservations", {}))
        self.on_describe()
        yield dated({"CapacityReservations": list(self.reservations)})

    def describe_capacity_reservations(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("DescribeCapacityReservations", request))
        self.on_describe()
        wanted = request["CapacityReservationIds"]
        found = [owned for owned in self.reservations if owned["CapacityReservationId"] in wanted]
        if not found:
            raise refusal("InvalidCapacityReservationId.NotFound")
        return dated({"CapacityReservations": found})

    def purchase_capacity_block(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("PurchaseCapacityBlock", request))
        if self.lose and self.lose_before:
            raise self.lose
        tags = request["TagSpecifications"][0]["Tags"]
        sold = next(
            offered
            for offered in self.offerings
            if offered["CapacityBlockOfferingId"] == request["CapacityBlockOfferingId"]
        )
        bought = reservation(
            f"cr-{len(self.reservations) + 1}",
            self.state_when_bought,
            StartDate=sold["StartDate"],
            EndDate=sold["EndDate"],
        )
        bought["Tags"] = [*bought["Tags"], *tags]
        self.reservations.append(bought)
        if self.lose:
            raise self.lose
        return dated({"CapacityReservation": bought})

    def cancel_capacity_reservation(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("CancelCapacityReservation", request))
        for owned in self.reservations:
            if owned["CapacityReservationId"] == request["CapacityReservationId"]:
                owned["State"] = "cancelled"
        return {"Return": True}

    def describe_vpcs(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("DescribeVpcs", request))
        return {"Vpcs": self.vpcs}

    def describe_route_tables(self, **request: Any) -> dict[str, Any]:
        """`closed` subnets have their own route table, without a default route."""
        self.calls.append(("DescribeRouteTables", request))
        (which,) = [each for each in request["Filters"] if each["Name"] != "vpc-id"]
        if which["Name"] == "association.main":
            route = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
            return {"RouteTables": [{"RouteTableId": "rtb-main", "Routes": [route]}]}
        found = [subnet_id for subnet_id in which["Values"] if subnet_id in self.closed]
        return {"RouteTables": [{"RouteTableId": f"rtb-{subnet_id}", "Routes": []} for subnet_id in found]}

    def _pages_of_describe_vpc_endpoints(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.calls.append(("DescribeVpcEndpoints", request))
        yield {"VpcEndpoints": self.endpoints}

    def describe_subnets(self, **request: Any) -> dict[str, Any]:
        self.calls.append(("DescribeSubnets", request))
        found = [subnet for subnet in self.subnets if subnet["SubnetId"] in request["SubnetIds"]]
        if not found:
            raise refusal("InvalidSubnetID.NotFound")
        return {"Subnets": found}

    def _pages_of_describe_subnets(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.calls.append(("DescribeSubnets", request))
        wanted = {each["Name"]: each["Values"][0] for each in request["Filters"]}
        found = [
            subnet
            for subnet in self.subnets
            if subnet["AvailabilityZone"] == wanted["availability-zone"] and subnet["VpcId"] == wanted["vpc-id"]
        ]
        yield {"Subnets": found}


class _Paginator:
    def __init__(self, pages: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self.paginate = pages


def dated(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOW, usegmt=True)}}}
