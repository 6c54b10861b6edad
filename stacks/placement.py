"""The subnet and the Capacity Block of the machines.

Terraform reads ids that are not set from Parameter Store, where `invoke cb.purchase` and `invoke cb.save-params` save
them with the block's zone and instance type. Preconditions on these refuse a launch without capacity.
"""

from __future__ import annotations

from constructs import Construct

from stacks.cdk import IResolvable, Op, Postcondition, Precondition, TerraformResourceLifecycle
from stacks.provider import DataAwsSsmParameter, DataAwsSubnet


class CapacityBlock(Construct):
    """The Capacity Block to launch on. `saved`: its reservation id is read from Parameter Store."""

    def __init__(self, scope: Construct, name: str, *, region: str, reservation_id: str | None) -> None:
        super().__init__(scope, name)
        self.saved = reservation_id is None
        self.reservation_id = reservation_id or saved_id(self, "reservation_id", region=region, prefix="cr-")


class Network(Construct):
    """The subnet to launch in, its VPC and its zone.

    All are None if no subnet is given: EC2 then uses the default VPC. A Capacity Block always has a subnet.
    """

    def __init__(
        self, scope: Construct, name: str, *, region: str, subnet_id: str | None, on_capacity_block: bool
    ) -> None:
        super().__init__(scope, name)
        self.subnet_id: str | None = None
        self.vpc_id: str | None = None
        self.zone: str | None = None
        self.saved = subnet_id is None and on_capacity_block
        if subnet_id is None and not on_capacity_block:
            return
        subnet = DataAwsSubnet(
            self, "subnet", id=subnet_id or saved_id(self, "subnet_id", region=region, prefix="subnet-")
        )
        subnet.override_logical_id("machine")
        self.subnet_id = subnet.id
        self.vpc_id = subnet.vpc_id
        self.zone = subnet.availability_zone


class PlacementChecks(Construct):
    """Preconditions on the block and the subnet.

    The provider has no data source for reservations, so only `invoke deploy` checks a block that is given by its id.
    """

    def __init__(
        self, scope: Construct, name: str, *, region: str, instance_type: str, block: CapacityBlock, network: Network
    ) -> None:
        super().__init__(scope, name)
        self.conditions: list[Precondition] = []
        if block.saved:
            zone = _saved(self, "block_zone", name=f"/capacity-block/{region}/availability-zone")
            kind = _saved(self, "block_type", name=f"/capacity-block/{region}/instance-type")
            self._require(
                Op.eq(network.zone, zone.insecure_value),
                "The subnet is in another availability zone than the saved Capacity Block."
                " Save the block again, with a subnet in its zone: invoke cb.save-params.",
            )
            self._require(
                Op.eq(kind.insecure_value, instance_type),
                f"The saved Capacity Block is not for {instance_type}. Deploy its own instance type.",
            )
        elif network.saved:
            reservation = _saved(self, "saved_block", name=f"/capacity-block/{region}/reservation-id")
            self._require(
                Op.eq(reservation.insecure_value, block.reservation_id),
                f"The saved subnet belongs to another Capacity Block than {block.reservation_id}. Name a subnet.",
            )

    def _require(self, condition: IResolvable, message: str) -> None:
        self.conditions.append(Precondition(condition=condition, error_message=message))


def saved_id(scope: Construct, name: str, *, region: str, prefix: str) -> str:
    """The id saved in Parameter Store as `name`. The plan fails if it does not start with `prefix`."""
    path = f"/capacity-block/{region}/{name.replace('_', '-')}"
    parameter = _saved(scope, name, name=path)
    parameter.lifecycle = TerraformResourceLifecycle(
        postcondition=[
            Postcondition(
                condition=f'${{startswith(self.insecure_value, "{prefix}")}}',
                error_message=(
                    f"The parameter {path} does not hold an id that starts with {prefix}."
                    " Save the block again: invoke cb.save-params."
                ),
            )
        ]
    )
    return parameter.insecure_value


def _saved(scope: Construct, construct_id: str, *, name: str) -> DataAwsSsmParameter:
    parameter = DataAwsSsmParameter(scope, construct_id, name=name)
    parameter.override_logical_id(construct_id)
    return parameter
