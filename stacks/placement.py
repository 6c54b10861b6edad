"""Where the machine runs: which subnet, and on which Capacity Block.

Ids that the settings leave out are read from Parameter Store when Terraform plans, where
`invoke cb.purchase` and `invoke cb.save-params` put them.
"""

from __future__ import annotations

from cdktf import Postcondition, TerraformResourceLifecycle
from constructs import Construct

from stacks.provider import DataAwsSsmParameter, DataAwsSubnet


class CapacityBlock(Construct):
    """The block to start on. `reservation_id` is its capacity reservation's id."""

    def __init__(self, scope: Construct, name: str, *, region: str, reservation_id: str | None) -> None:
        super().__init__(scope, name)
        self.reservation_id = reservation_id or _saved(
            self, "reservation_id", name=f"/capacity-block/{region}/reservation-id", prefix="cr-"
        )


class Network(Construct):
    """The subnet to start in, and its VPC.

    Both are None where nothing names a subnet: EC2 then uses the region's default VPC. A Capacity
    Block is bound to one availability zone, so with one there is always a subnet.
    """

    def __init__(
        self, scope: Construct, name: str, *, region: str, subnet_id: str | None, on_capacity_block: bool
    ) -> None:
        super().__init__(scope, name)
        self.subnet_id: str | None = None
        self.vpc_id: str | None = None
        if subnet_id is None and not on_capacity_block:
            return
        subnet = DataAwsSubnet(
            self,
            "subnet",
            id=subnet_id or _saved(self, "subnet_id", name=f"/capacity-block/{region}/subnet-id", prefix="subnet-"),
        )
        subnet.override_logical_id("machine")
        self.subnet_id = subnet.id
        self.vpc_id = subnet.vpc_id


def _saved(scope: Construct, construct_id: str, *, name: str, prefix: str) -> str:
    """The id that `name` in Parameter Store holds; planning fails if it is not one."""
    parameter = DataAwsSsmParameter(scope, construct_id, name=name)
    parameter.override_logical_id(construct_id)
    parameter.lifecycle = TerraformResourceLifecycle(
        postcondition=[
            Postcondition(
                condition=f'${{startswith(self.insecure_value, "{prefix}")}}',
                error_message=(
                    f"The parameter {name} does not hold an id that starts with {prefix}."
                    " Save the block again: invoke cb.save-params."
                ),
            )
        ]
    )
    return parameter.insecure_value
