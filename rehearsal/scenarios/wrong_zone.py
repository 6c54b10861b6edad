"""A block lies in one zone: a subnet in another is refused before anything is made, and the right one is found."""

from __future__ import annotations

from typing import Any

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError


def play(demo: Demo) -> None:
    main_job.prepare(demo, show=False)
    elsewhere = _subnet_elsewhere(demo)

    demo.heading("Deploy into a subnet of another zone")
    demo.say("EC2 has room on the block in its own zone only, and Terraform would try for up to 50 minutes:")
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    demo.invoke(*deploy, "--subnet-id", elsewhere, status=2)

    demo.heading("Save the block with such a subnet")
    block = main_job.saved_block(demo)
    demo.invoke("cb.save-params", "--reservation-id", block, "--subnet-id", elsewhere, "-r", demo.region, status=2)

    demo.heading("Leave the subnet out")
    demo.say("A default subnet in the block's zone is found, and saved with it; deploy takes that one:")
    demo.invoke("cb.save-params", "--reservation-id", block, "-r", demo.region)
    demo.invoke(*deploy)


def _subnet_elsewhere(demo: Demo) -> str:
    """A default subnet in a zone that is not the block's."""
    ec2 = demo.sandbox.client("ec2", demo.region)
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    subnets: list[dict[str, Any]] = ec2.describe_subnets()["Subnets"]
    for subnet in subnets:
        if subnet["AvailabilityZone"] != block["AvailabilityZone"]:
            return str(subnet["SubnetId"])
    raise SandboxError(f"{demo.region} has no subnet outside {block['AvailabilityZone']}.")
