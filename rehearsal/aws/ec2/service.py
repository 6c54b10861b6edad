"""EC2 as the rehearsal serves it: moto's, plus the operations that moto lacks or gets wrong, one class per concern."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.ec2.responses import EC2Response

from rehearsal.aws.ec2 import requests
from rehearsal.aws.ec2.instance_operations import InstanceOperations
from rehearsal.aws.ec2.launches import LaunchOperations
from rehearsal.aws.ec2.offering_operations import OfferingOperations
from rehearsal.aws.ec2.operations import EC2Operations
from rehearsal.aws.ec2.reservation_operations import ReservationOperations
from rehearsal.aws.ec2.volume_operations import VolumeOperations

SEARCH = "DescribeCapacityBlockOfferings"


class DefaultVpcOperations(EC2Operations):
    """Connects the default VPC to the internet; moto's has no internet gateway.

    EC2's has one, and a default route to it in the main route table (VPC user guide, "Default VPC components").
    """

    def describe_route_tables(self) -> ActionResult:
        self._dry_run()
        self._connect_default_vpc()
        return super().describe_route_tables()

    def describe_internet_gateways(self) -> ActionResult:
        self._dry_run()
        self._connect_default_vpc()
        return super().describe_internet_gateways()

    def _connect_default_vpc(self) -> None:
        """Add the gateway and the route once, so that deleting either is permanent."""
        vpc = self.ec2_backend.get_default_vpc()
        if vpc is None or hasattr(vpc, "was_connected"):
            return
        vpc.was_connected = True
        gateway = self.ec2_backend.create_internet_gateway()
        self.ec2_backend.attach_internet_gateway(gateway.id, vpc.id)
        filters = {"vpc-id": [vpc.id], "association.main": ["true"]}
        (table,) = self.ec2_backend.describe_route_tables(filters=filters)
        self.ec2_backend.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)


class ImageOperations(EC2Operations):
    """Sets the root device type of new images, for which moto has a value that EC2 does not.

    All images here are backed by EBS, and so are those made from them: EC2 API reference, Image, `rootDeviceType`.
    """

    def copy_image(self) -> ActionResult:
        self._dry_run()
        return self._with_ebs_root(super().copy_image())

    def create_image(self) -> ActionResult:
        self._dry_run()
        return self._with_ebs_root(super().create_image())

    def _with_ebs_root(self, result: ActionResult) -> ActionResult:
        self.ec2_backend.amis[result.result["ImageId"]].root_device_type = "ebs"
        return result


class RehearsalEC2(
    OfferingOperations,
    ReservationOperations,
    VolumeOperations,
    DefaultVpcOperations,
    ImageOperations,
    InstanceOperations,
    LaunchOperations,
    EC2Response,  # type: ignore[misc] # moto has no types
):
    """Bound to a world by `rehearsal.services`."""

    def check(self) -> None:
        operation, parameters = self._get_action(), self._query_parameters()
        if operation == SEARCH:
            settings = self.world.market.settings
            self.world.search_limits.check(self.current_account, self.region, settings.searches)
        requests.check(operation, parameters)
        # The rehearsal's own operations first check whether the request would succeed.
        method = getattr(self, camelcase_to_underscores(operation), None)
        if method is None or not method.__module__.startswith("rehearsal."):
            requests.check_dry_run(operation, parameters)
