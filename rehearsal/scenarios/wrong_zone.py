"""A block is in one zone: a subnet in another zone is refused before anything is created, the right one is found."""

from __future__ import annotations

from typing import Any

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo
from rehearsal.scenarios.sandbox import SandboxError


def play(demo: Demo) -> None:
    main_job.prepare(demo, show=False)
    other_subnet = _subnet_in_another_zone(demo)

    demo.heading("Deploy into a subnet in another zone")
    demo.say("EC2 launches on a block in the block's zone only, and Terraform would retry for up to 50 minutes:")
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    demo.invoke(*deploy, "--subnet-id", other_subnet, status=2)

    demo.heading("Save the block with that subnet")
    block = main_job.saved_block(demo)
    demo.invoke("cb.save-params", "--reservation-id", block, "--subnet-id", other_subnet, "-r", demo.region, status=2)

    demo.heading("Leave the subnet out")
    demo.say("cb.save-params finds a default subnet in the block's zone and saves it; deploy uses that one:")
    demo.invoke("cb.save-params", "--reservation-id", block, "-r", demo.region)
    demo.invoke(*deploy)


def _subnet_in_another_zone(demo: Demo) -> str:
    ec2 = demo.sandbox.client("ec2", demo.region)
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    subnets: list[dict[str, Any]] = ec2.describe_subnets()["Subnets"]
    for subnet in subnets:
        if subnet["AvailabilityZone"] != block["AvailabilityZone"]:
            return str(subnet["SubnetId"])
    raise SandboxError(f"{demo.region} has no subnet outside {block['AvailabilityZone']}.")
