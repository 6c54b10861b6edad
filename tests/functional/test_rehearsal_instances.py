import urllib.error
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.functional.support import AMI_PARAMETER, eventually, refusal


@pytest.fixture
def image(ssm):
    return ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]


@pytest.fixture
def request_on_block(ec2, image, active_block):
    """The parameters of RunInstances for one instance on the active block."""
    zone = [{"Name": "availability-zone", "Values": ["sa-east-1b"]}]
    return {
        "ImageId": image,
        "InstanceType": "trn2.3xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": ec2.describe_subnets(Filters=zone)["Subnets"][0]["SubnetId"],
        "InstanceMarketOptions": {"MarketType": "capacity-block"},
        "CapacityReservationSpecification": {
            "CapacityReservationTarget": {"CapacityReservationId": active_block["CapacityReservationId"]}
        },
    }


def available(ec2):
    return ec2.describe_capacity_reservations()["CapacityReservations"][0]["AvailableInstanceCount"]


def instance(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def launched(ec2, request):
    return ec2.run_instances(**request)["Instances"][0]["InstanceId"]


def test_an_instance_on_a_block_shows_the_reservation(ec2, request_on_block, active_block):
    seen = instance(ec2, launched(ec2, request_on_block))
    assert seen["InstanceLifecycle"] == "capacity-block"
    assert seen["CapacityReservationId"] == active_block["CapacityReservationId"]
    assert (seen["State"]["Name"], seen["Placement"]["Tenancy"]) == ("running", "default")
    assert seen["Placement"]["AvailabilityZone"] == "sa-east-1b"
    assert available(ec2) == 0


def test_a_full_block_has_room_again_after_a_termination(ec2, request_on_block):
    first = launched(ec2, request_on_block)
    assert refusal(ec2.run_instances, **request_on_block) == "ReservationCapacityExceeded"
    ec2.terminate_instances(InstanceIds=[first])
    assert available(ec2) == 1
    launched(ec2, request_on_block)


def test_a_client_token_launches_once(ec2, request_on_block):
    request = {**request_on_block, "ClientToken": "mine"}
    assert launched(ec2, request) == launched(ec2, request)


def test_a_launch_on_a_scheduled_block_is_refused(ec2, image, block):
    request = {
        "ImageId": image,
        "InstanceType": "trn2.3xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "InstanceMarketOptions": {"MarketType": "capacity-block"},
        "CapacityReservationSpecification": {
            "CapacityReservationTarget": {"CapacityReservationId": block["CapacityReservationId"]}
        },
    }
    assert refusal(ec2.run_instances, **request) == "InvalidCapacityReservationState.PendingActivation"


def test_a_launch_in_another_zone_is_refused(ec2, request_on_block):
    zone = [{"Name": "availability-zone", "Values": ["sa-east-1a"]}]
    elsewhere = ec2.describe_subnets(Filters=zone)["Subnets"][0]["SubnetId"]
    assert refusal(ec2.run_instances, **{**request_on_block, "SubnetId": elsewhere}) == "Unsupported"


def test_a_launch_of_another_type_is_refused(ec2, request_on_block):
    request = {**request_on_block, "InstanceType": "inf2.xlarge"}
    del request["SubnetId"]
    assert refusal(ec2.run_instances, **request) == "Unsupported"
    zone = [{"Name": "availability-zone", "Values": ["sa-east-1c"]}]
    request["SubnetId"] = ec2.describe_subnets(Filters=zone)["Subnets"][0]["SubnetId"]
    assert refusal(ec2.run_instances, **request) == "ReservationCapacityExceeded"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"InstanceMarketOptions": {}}, "InvalidParameterValue"),
        ({"CapacityReservationSpecification": {}}, "InvalidParameterCombination"),
        ({"Placement": {"Tenancy": "dedicated"}}, "InvalidParameterValue"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": ""}, "MissingParameter"),
        ({"InstanceType": "trn9.huge"}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_invalid_launches_are_refused(ec2, request_on_block, change, code):
    assert refusal(ec2.run_instances, **{**request_on_block, **change}) == code
    assert available(ec2) == 1


def test_a_launch_needs_an_existing_image(ec2, image):
    request = {"InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1}
    with pytest.raises(ClientError) as refused:
        ec2.run_instances(**request)
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == (
        "MissingParameter",
        "The request must contain the parameter ImageId",
    )
    copy = ec2.copy_image(Name="a copy", SourceImageId=image, SourceRegion="sa-east-1")["ImageId"]
    ec2.deregister_image(ImageId=copy)
    with pytest.raises(ClientError) as refused:
        ec2.run_instances(**request, ImageId=copy)
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("InvalidAMIID.NotFound", f"The image id '[{copy}]' does not exist")


def test_a_reservation_target_excludes_a_preference(ec2, request_on_block):
    request_on_block["CapacityReservationSpecification"]["CapacityReservationPreference"] = "open"
    assert refusal(ec2.run_instances, **request_on_block) == "InvalidParameterCombination"


def test_a_launch_template_provides_all_parameters(ec2, request_on_block):
    in_request = ("MinCount", "MaxCount", "SubnetId")
    in_template = {key: value for key, value in request_on_block.items() if key not in in_request}
    disk = {"VolumeSize": 500, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    created = ec2.create_launch_template(
        LaunchTemplateName="template",
        LaunchTemplateData={
            **in_template,
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "v"}]}],
        },
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "Project", "Value": "p"}]}],
    )
    template = created["LaunchTemplate"]["LaunchTemplateId"]
    seen = instance(
        ec2, launched(ec2, {"LaunchTemplate": {"LaunchTemplateId": template}, "MinCount": 1, "MaxCount": 1})
    )
    assert seen["InstanceLifecycle"] == "capacity-block"
    assert seen["MetadataOptions"]["HttpTokens"] == "required"
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"], volume["Iops"]) == (500, "gp3", True, 3000)
    assert volume["Tags"] == [{"Key": "Name", "Value": "v"}]
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"]
    kinds = [tags["ResourceType"] for tags in version["LaunchTemplateData"]["TagSpecifications"]]
    assert kinds == ["volume"]
    assert "SnapshotId" not in version["LaunchTemplateData"]["BlockDeviceMappings"][0]["Ebs"]


def test_a_root_volume_smaller_than_the_image_is_refused(ec2, image):
    request = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1}
    small = [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 10}}]
    assert refusal(ec2.run_instances, **request, BlockDeviceMappings=small) == "InvalidBlockDeviceMapping"


def test_without_a_block_an_instance_is_on_demand(ec2, image):
    request = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 2, "MaxCount": 2}
    instances = ec2.run_instances(**request)["Instances"]
    assert len(instances) == 2
    for launched_instance in instances:
        assert "InstanceLifecycle" not in launched_instance
        assert launched_instance["SecurityGroups"][0]["GroupName"] == "default"


def test_a_protected_instance_prevents_terminations_in_its_zone(ec2, image, machines):
    def launch(zone, **more):
        request = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **more}
        return launched(ec2, {**request, "Placement": {"AvailabilityZone": zone}})

    def are_running():
        return [instance(ec2, instance_id)["State"]["Name"] == "running" for instance_id in ids]

    for protected in (True, False):
        data = {"DisableApiTermination": protected}
        ec2.create_launch_template(LaunchTemplateName=f"protected-{protected}", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "protected-True"}
    ids = [
        launch("sa-east-1a", LaunchTemplate={"LaunchTemplateName": "protected-False"}),
        launch("sa-east-1c", LaunchTemplate=template, DisableApiTermination=False),
        launch("sa-east-1c", LaunchTemplate=template),
    ]
    eventually(lambda: all(machines.made[instance_id].booted for instance_id in ids))
    with pytest.raises(ClientError) as refused:
        ec2.terminate_instances(InstanceIds=ids)
    error = refused.value.response["Error"]
    assert (error["Code"], ids[2] in error["Message"]) == ("OperationNotPermitted", True)
    assert are_running() == [False, True, True]
    eventually(lambda: machines.made[ids[0]].destroyed)
    assert not machines.made[ids[1]].destroyed
    assert refusal(ec2.terminate_instances, InstanceIds=[ids[1], "i-0123456789abcdef0"]) == "InvalidInstanceID.NotFound"
    assert are_running() == [False, True, True]
    ec2.modify_instance_attribute(InstanceId=ids[2], DisableApiTermination={"Value": False})
    changes = ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"]
    assert {change["InstanceId"]: change["PreviousState"]["Name"] for change in changes} == dict(
        zip(ids, ["terminated", "running", "running"], strict=True)
    )
    assert are_running() == [False, False, False]


def test_instances_are_terminated_half_an_hour_before_the_end(
    ec2, request_on_block, active_block, machines, move_clock
):
    instance_id = launched(ec2, request_on_block)
    move_clock(active_block["EndDate"] - timedelta(minutes=31))
    assert instance(ec2, instance_id)["State"]["Name"] == "running"
    move_clock(active_block["EndDate"] - timedelta(minutes=30))
    assert instance(ec2, instance_id)["State"]["Name"] == "terminated"
    eventually(lambda: machines.made[instance_id].destroyed)


def test_a_host_is_destroyed_at_the_end_of_its_block_without_a_request(
    ec2, request_on_block, active_block, machines, server
):
    instance_id = launched(ec2, request_on_block)
    server.world.clock.move_to(active_block["EndDate"] - timedelta(minutes=30))
    eventually(lambda: machines.made[instance_id].destroyed)


@pytest.mark.parametrize(("path", "more"), [("forward", {"port": 80}), ("host", {"do": "reboot"})])
def test_a_host_cannot_be_used_after_its_block(
    ec2, control, request_on_block, active_block, machines, server, path, more
):
    instance_id = launched(ec2, request_on_block)
    eventually(lambda: machines.made[instance_id].booted)
    server.world.clock.move_to(active_block["EndDate"] - timedelta(minutes=30))
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(path, {"instance_id": instance_id, **more})
    assert refused.value.code == 400


def test_a_host_boots_and_is_destroyed_with_its_instance(ec2, control, machines, request_on_block):
    machines.prepare = lambda machine: machine.may_boot.clear()
    instance_id = launched(ec2, request_on_block)
    assert control("status")["hosts"] == {instance_id: "booting"}
    machines.made[instance_id].may_boot.set()
    eventually(lambda: control("status")["hosts"] == {instance_id: "running"})
    assert control("forward", {"instance_id": instance_id, "port": 80}) == {"port": 40080}
    ec2.terminate_instances(InstanceIds=[instance_id])
    eventually(lambda: machines.made[instance_id].destroyed)
    assert control("status")["hosts"] == {}


def test_the_status_of_a_light_host_shows_its_kind(ec2, control, machines, request_on_block):
    machines.prepare = lambda machine: setattr(machine, "label", "light")
    instance_id = launched(ec2, request_on_block)
    eventually(lambda: control("status")["hosts"] == {instance_id: "running (light)"})
    assert control("forward", {"instance_id": instance_id, "port": 80}) == {"port": 40080}


def test_the_status_shows_why_a_host_failed_to_boot(ec2, control, machines, request_on_block):
    machines.prepare = lambda machine: setattr(machine, "broken", "no memory")
    instance_id = launched(ec2, request_on_block)
    eventually(lambda: control("status")["hosts"][instance_id].startswith("failed: "))
    assert "no memory" in control("status")["hosts"][instance_id]


def test_a_host_reboots_with_its_instance(ec2, control, machines, request_on_block):
    instance_id = launched(ec2, request_on_block)
    eventually(lambda: control("status")["hosts"] == {instance_id: "running"})
    ec2.reboot_instances(InstanceIds=[instance_id])
    eventually(lambda: machines.made[instance_id].reboots == 1)
    eventually(lambda: control("status")["hosts"] == {instance_id: "running"})


def test_stopping_an_instance_with_a_host_is_refused(ec2, request_on_block):
    instance_id = launched(ec2, request_on_block)
    assert refusal(ec2.stop_instances, InstanceIds=[instance_id]) == "UnsupportedOperation"


def test_trn2_3xlarge_is_offered_in_one_zone_of_sao_paulo(ec2):
    only = [{"Name": "instance-type", "Values": ["trn2.3xlarge"]}]
    found = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=only)
    assert [offering["Location"] for offering in found["InstanceTypeOfferings"]] == ["sa-east-1b"]
    (described,) = ec2.describe_instance_types(InstanceTypes=["trn2.3xlarge"])["InstanceTypes"]
    assert described["InstanceType"] == "trn2.3xlarge"


@pytest.mark.parametrize("name", ["trn1.32xlarge", "trn2.48xlarge", "inf2.xlarge"])
def test_neuron_types_are_known(client, name):
    (described,) = client("ec2", "us-east-2").describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
    assert described["VCpuInfo"]["DefaultVCpus"] > 0


def test_every_region_has_a_default_network(client):
    for region in ("sa-east-1", "us-east-2"):
        subnets = client("ec2", region).describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
        zones = {subnet["AvailabilityZone"] for subnet in subnets["Subnets"]}
        assert zones == {f"{region}{zone}" for zone in "abc"}


def test_the_image_can_be_described(ec2, image):
    (found,) = ec2.describe_images(ImageIds=[image])["Images"]
    assert found["RootDeviceName"] == "/dev/sda1"
    root = found["BlockDeviceMappings"][0]
    assert root["DeviceName"] == "/dev/sda1"
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[root["Ebs"]["SnapshotId"]])["Snapshots"]
    assert snapshot["VolumeSize"] == root["Ebs"]["VolumeSize"] == 50


def test_neuron_parameters_are_listed_by_path(ssm):
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/aws/service/neuron/dlami", Recursive=True)
    names = [parameter["Name"] for page in pages for parameter in page["Parameters"]]
    assert AMI_PARAMETER in names
    assert all(name.endswith("/latest/image_id") for name in names)
