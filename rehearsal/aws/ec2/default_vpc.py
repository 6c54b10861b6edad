"""A default VPC's way out, and the routes of one, as EC2 has them.

moto's default VPC leads nowhere. EC2's has an internet gateway, and the main route table's default route leads to it
(VPC user guide, "Default VPC components").
"""

from __future__ import annotations

from moto.core.responses import ActionResult

from rehearsal.aws.ec2.operations import EC2Operations


class DefaultVpcOperations(EC2Operations):
    """One method an operation; the names are moto's dispatch rule."""

    def describe_route_tables(self) -> ActionResult:
        self._dry_run()
        self._open_default_vpc()
        return super().describe_route_tables()

    def describe_internet_gateways(self) -> ActionResult:
        self._dry_run()
        self._open_default_vpc()
        return super().describe_internet_gateways()

    def _open_default_vpc(self) -> None:
        """Once: a gateway that was taken away, or a route, stays so."""
        vpc = self.ec2_backend.get_default_vpc()
        if vpc is None or hasattr(vpc, "was_opened"):
            return
        vpc.was_opened = True
        gateway = self.ec2_backend.create_internet_gateway()
        self.ec2_backend.attach_internet_gateway(gateway.id, vpc.id)
        which = {"vpc-id": [vpc.id], "association.main": ["true"]}
        (table,) = self.ec2_backend.describe_route_tables(filters=which)
        self.ec2_backend.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
