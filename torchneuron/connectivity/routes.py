"""Where a subnet leads: its default route, the endpoints in its VPC, and whether a machine in it has a way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchneuron.aws.ec2 import Instance, Subnet
from torchneuron.aws.errors import reading
from torchneuron.connectivity.diagnosis import Diagnosis, no_network
from torchneuron.connectivity.facts import Facts, Route

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, RouteTypeDef

_SERVICE_PREFIX = "com.amazonaws."
# How a default route names what it leads to (EC2 API reference, Route).
_TARGETS = (
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
    "VpcPeeringConnectionId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
)


def of_subnet(ec2: EC2Client, vpc_id: str, subnet_id: str) -> Route:
    """The default route of the subnet's own table, or of the VPC's main one (VPC user guide, "Route tables")."""
    own: list[FilterTypeDef] = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    main: list[FilterTypeDef] = [
        {"Name": "vpc-id", "Values": [vpc_id]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    with reading("look at its subnet's routes"):
        tables = [*ec2.describe_route_tables(Filters=own)["RouteTables"]]
        tables = tables or [*ec2.describe_route_tables(Filters=main)["RouteTables"]]
        return _default_route(tables[0]["RouteTableId"], tables[0].get("Routes", []))


def endpoints(ec2: EC2Client, vpc_id: str) -> frozenset[str]:
    """The services with an endpoint in the VPC, such as `ssm`."""
    which: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [vpc_id]}]
    with reading("look at the endpoints in its VPC"):
        pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=which)
        found = [one for page in pages for one in page["VpcEndpoints"]]
    ready = [one.get("ServiceName", "") for one in found if str(one.get("State")).lower() == "available"]
    return frozenset(one.rpartition(".")[2] for one in ready if one.startswith(_SERVICE_PREFIX))


def leads_out(route: Route, *, has_public_ip: bool) -> bool:
    """Whether a machine gets out by the route. An internet gateway serves public addresses only."""
    return bool(route.target) and not route.blackhole and (not route.is_internet_gateway or has_public_ip)


def no_way_out(ec2: EC2Client, region: str, subnet: Subnet) -> Diagnosis | None:
    """What keeps a machine that will start in the subnet from Systems Manager; None when nothing does."""
    route = of_subnet(ec2, subnet.vpc_id, subnet.subnet_id)
    if leads_out(route, has_public_ip=subnet.assigns_public_ips):
        return None
    instance = Instance(
        "",
        state="pending",
        public_ip="from the subnet" if subnet.assigns_public_ips else "",
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.subnet_id,
    )
    return no_network(Facts("", region, instance, egress=True, route=route, endpoints=endpoints(ec2, subnet.vpc_id)))


def _default_route(table_id: str, routes: Sequence[RouteTypeDef]) -> Route:
    """IPv4's: the endpoints of SSM that an agent uses unless told otherwise have no other addresses."""
    for route in routes:
        if route.get("DestinationCidrBlock") == "0.0.0.0/0":
            target = next((str(route[name]) for name in _TARGETS if route.get(name)), "")  # type: ignore[literal-required]
            return Route(table_id, target, blackhole=route.get("State") == "blackhole")
    return Route(table_id)
