"""Capacity runs out: an offering sells out before you buy it, no capacity anywhere, a block that is full."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.demo import Demo


def play(demo: Demo) -> None:
    demo.heading("Find a Capacity Block")
    proposal = main_job.find(demo)
    demo.aws(
        "market",
        {"out_of_capacity": [main_job.INSTANCE_TYPE]},
        f"meanwhile, other customers buy all {main_job.INSTANCE_TYPE} capacity",
    )
    demo.heading("Buy it, too late")
    demo.invoke(*proposal.purchase, "-r", demo.region, status=2)
    demo.say("Nothing was bought, nothing was paid. A search shows the market, and where else to look:")
    demo.invoke("cb.search", "-t", main_job.INSTANCE_TYPE, "-d", str(main_job.HOURS), "-r", demo.region, "--suggest")

    demo.heading("Buy another one, once there is capacity again")
    demo.aws("market", {"out_of_capacity": []}, "another customer's block ends")
    proposal = main_job.find(demo, show=False)
    demo.invoke(*proposal.purchase, "-r", demo.region)
    main_job.begin(demo, proposal)
    main_job.make_bucket(demo, show=False)
    foreign_instance = _launch_on_block(demo)
    demo.say(f"-> a colleague with the same account launches {foreign_instance} on it")
    demo.heading("Deploy on a block that is full")
    deploy = ("deploy", "--use-capacity-block", "-r", demo.region, "--skip-setup")
    demo.invoke(*deploy, status=2)
    demo.invoke("cb.describe", "--reservation-id", main_job.saved_block(demo), "-r", demo.region)

    demo.heading("Ask the colleague to terminate it, and deploy")
    demo.sandbox.client("ec2", demo.region).terminate_instances(InstanceIds=[foreign_instance])
    demo.say(f"-> the colleague terminates {foreign_instance}")
    demo.invoke(*deploy)


def _launch_on_block(demo: Demo) -> str:
    ec2 = demo.sandbox.client("ec2", demo.region)
    (block,) = ec2.describe_capacity_reservations(Filters=[{"Name": "state", "Values": ["active"]}])[
        "CapacityReservations"
    ]
    zone = {"Name": "availability-zone", "Values": [block["AvailabilityZone"]]}
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    launched = ec2.run_instances(
        ImageId=image,
        InstanceType=block["InstanceType"],
        SubnetId=ec2.describe_subnets(Filters=[zone])["Subnets"][0]["SubnetId"],
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification={
            "CapacityReservationTarget": {"CapacityReservationId": block["CapacityReservationId"]}
        },
        MinCount=1,
        MaxCount=1,
    )
    return str(launched["Instances"][0]["InstanceId"])
