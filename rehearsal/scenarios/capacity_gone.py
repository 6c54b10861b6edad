"""Others rent machines too: an offering that is gone when you buy it, no capacity anywhere, a block that is full."""

from __future__ import annotations

from rehearsal.scenarios import main_job
from rehearsal.scenarios.stage import Stage


def play(stage: Stage) -> None:
    stage.heading("Find a Capacity Block")
    proposed = main_job.find(stage)
    stage.aws(
        "market",
        {"out_of_capacity": [main_job.INSTANCE_TYPE]},
        f"while you think it over, others buy all there is of {main_job.INSTANCE_TYPE}",
    )
    stage.heading("Buy it, too late")
    stage.invoke(*proposed.purchase, "-r", stage.region, status=2)
    stage.say("Nothing was bought, nothing is paid. A search says how things stand, and where else to look:")
    stage.invoke("cb.search", "-t", main_job.INSTANCE_TYPE, "-d", str(main_job.HOURS), "-r", stage.region, "--suggest")

    stage.heading("Buy another one, once there is capacity again")
    stage.aws("market", {"out_of_capacity": []}, "somebody's block has ended")
    proposed = main_job.find(stage, show=False)
    stage.invoke(*proposed.purchase, "-r", stage.region)
    main_job.begin(stage, proposed)
    main_job.make_bucket(stage, show=False)
    stranger = _launch_on_block(stage)
    stage.say(f"-> a colleague with the same account has launched {stranger} on it")
    stage.heading("Deploy on a block that is full")
    deploy = ("deploy", "--use-capacity-block", "-r", stage.region, "--skip-setup")
    stage.invoke(*deploy, status=2)
    stage.invoke("cb.describe", "--reservation-id", main_job.saved_block(stage), "-r", stage.region)

    stage.heading("Ask the colleague to end it, and deploy")
    stage.sandbox.client("ec2", stage.region).terminate_instances(InstanceIds=[stranger])
    stage.say(f"-> the colleague has terminated {stranger}")
    stage.invoke(*deploy)


def _launch_on_block(stage: Stage) -> str:
    ec2 = stage.sandbox.client("ec2", stage.region)
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
