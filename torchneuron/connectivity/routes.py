"""Where a subnet's default route leads, and whether an instance in the subnet reaches Systems Manager."""

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
# The members of a route that name its target (EC2 API reference, Route).
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


def default_route(ec2: EC2Client, vpc_id: str, subnet_id: str) -> Route:
    """The default route of the subnet's route table, or else of the VPC's main one (VPC user guide, "Route tables")."""
    own: list[FilterTypeDef] = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    main: list[FilterTypeDef] = [
        {"Name": "vpc-id", "Values": [vpc_id]},
        {"Name": "association.main", "Values": ["true"]},
    ]
    with reading(f"look up the routes of {subnet_id}"):
        tables = [*ec2.describe_route_tables(Filters=own)["RouteTables"]]
        tables = tables or [*ec2.describe_route_tables(Filters=main)["RouteTables"]]
        return _default_route(tables[0]["RouteTableId"], tables[0].get("Routes", []))


def endpoints(ec2: EC2Client, vpc_id: str) -> frozenset[str]:
    """The AWS services with an available endpoint in the VPC, such as `ssm`."""
    in_vpc: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [vpc_id]}]
    with reading(f"look up the endpoints of {vpc_id}"):
        pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=in_vpc)
        found = [endpoint for page in pages for endpoint in page["VpcEndpoints"]]
    names = [endpoint.get("ServiceName", "") for endpoint in found if str(endpoint.get("State")).lower() == "available"]
    return frozenset(name.rpartition(".")[2] for name in names if name.startswith(_SERVICE_PREFIX))


def leads_out(route: Route, *, has_public_ip: bool) -> bool:
    """Whether an instance leaves the VPC by the route. An internet gateway serves public IP addresses only."""
    return bool(route.target) and not route.is_blackhole and (not route.is_internet_gateway or has_public_ip)


def diagnose_subnet(ec2: EC2Client, region: str, subnet: Subnet) -> Diagnosis | None:
    """Why an instance launched in the subnet would not reach Systems Manager; None if it would."""
    route = default_route(ec2, subnet.vpc_id, subnet.subnet_id)
    if leads_out(route, has_public_ip=subnet.assigns_public_ips):
        return None
    instance = Instance(
        "",
        state="pending",
        public_ip="assigned at launch" if subnet.assigns_public_ips else "",
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.subnet_id,
    )
    known = endpoints(ec2, subnet.vpc_id)
    return no_network(Facts("", region, instance, allows_https_out=True, route=route, endpoints=known))


def _default_route(table_id: str, routes: Sequence[RouteTypeDef]) -> Route:
    """IPv4 only: the SSM endpoints that agents use by default have no IPv6 addresses."""
    for route in routes:
        if route.get("DestinationCidrBlock") == "0.0.0.0/0":
            target = next((str(route[name]) for name in _TARGETS if route.get(name)), "")  # type: ignore[literal-required]
            return Route(table_id, target, is_blackhole=route.get("State") == "blackhole")
    return Route(table_id)
