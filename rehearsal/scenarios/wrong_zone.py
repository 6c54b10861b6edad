"""A block lies in one zone: a subnet in another is refused before anything is made, and the right one is found."""

from __future__ import annotations

from typing import Any

from rehearsal.scenarios import main_job
from rehearsal.scenarios.sandbox import SandboxError
from rehearsal.scenarios.stage import Stage


def play(stage: Stage) -> None:
    main_job.prepare(stage, show=False)
    elsewhere = _subnet_elsewhere(stage)

    stage.heading("Deploy into a subnet of another zone")
    stage.say("EC2 has room on the block in its own zone only, and Terraform would try for up to 50 minutes:")
    deploy = ("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup")
    stage.invoke(*deploy, "--subnet-id", elsewhere, status=2)

    stage.heading("Save the block with such a subnet")
    block = main_job.saved_block(stage)
    stage.invoke("cb.save-params", "--reservation-id", block, "--subnet-id", elsewhere, "-r", stage.region, status=2)

    stage.heading("Leave the subnet out")
    stage.say("A default subnet in the block's zone is found, and saved with it; deploy takes that one:")
    stage.invoke("cb.save-params", "--reservation-id", block, "-r", stage.region)
    stage.invoke(*deploy)


def _subnet_elsewhere(stage: Stage) -> str:
    """A default subnet in a zone that is not the block's."""
    ec2 = stage.sandbox.client("ec2", stage.region)
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    subnets: list[dict[str, Any]] = ec2.describe_subnets()["Subnets"]
    for subnet in subnets:
        if subnet["AvailabilityZone"] != block["AvailabilityZone"]:
            return str(subnet["SubnetId"])
    raise SandboxError(f"{stage.region} has no subnet outside {block['AvailabilityZone']}.")
