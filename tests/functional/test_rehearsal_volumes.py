"""EBS volumes in the rehearsal: EC2's errors, and the disks of hosts."""

import pytest

from tests.functional.support import AMI_PARAMETER, eventually, refusal

ZONE, ELSEWHERE = "sa-east-1b", "sa-east-1a"


@pytest.fixture
def launch(ec2, ssm):
    """Launches an instance in the zone; returns its id."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def launch(**more):
        place = {"AvailabilityZone": ZONE}
        request = {"ImageId": image, "InstanceType": "trn2.3xlarge", "MinCount": 1, "MaxCount": 1, "Placement": place}
        return ec2.run_instances(**request, **more)["Instances"][0]["InstanceId"]

    return launch


@pytest.fixture
def create(ec2):
    """Creates a volume; returns its id."""
    return lambda zone=ZONE: ec2.create_volume(AvailabilityZone=zone, Size=20, VolumeType="gp3")["VolumeId"]


@pytest.fixture
def attach(ec2):
    """Attaches a volume."""
    return lambda volume, instance, device="/dev/sdf": ec2.attach_volume(
        VolumeId=volume, InstanceId=instance, Device=device
    )


def attachments(ec2, volume):
    return ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]


def test_a_new_volume_is_available_with_the_speed_of_gp3(ec2, create):
    (volume,) = ec2.describe_volumes(VolumeIds=[create()])["Volumes"]
    assert (volume["State"], volume["Iops"], volume["Throughput"]) == ("available", 3000, 125)


def test_a_host_gets_the_disk_of_a_volume(ec2, machines, launch, create, attach):
    instance, volume = launch(), create()
    assert attach(volume, instance)["State"] == "attaching"
    (attachment,) = attachments(ec2, volume)
    assert (attachment["InstanceId"], attachment["Device"], attachment["State"]) == (instance, "/dev/sdf", "attached")
    assert machines.made[instance].volumes == [volume]
    assert ec2.detach_volume(VolumeId=volume)["State"] == "detaching"
    assert attachments(ec2, volume) == []
    assert machines.made[instance].volumes == []


def test_an_instance_can_be_launched_with_volumes(ec2, machines, launch):
    ebs = {"VolumeSize": 10, "DeleteOnTermination": False}
    instance = launch(BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": ebs}])
    mine = [{"Name": "attachment.device", "Values": ["/dev/sdf"]}]
    (volume,) = ec2.describe_volumes(Filters=mine)["Volumes"]
    assert machines.made[instance].volumes == [volume["VolumeId"]]


def test_a_volume_outlives_its_instance_and_can_be_attached_to_another(ec2, machines, launch, create, attach):
    first, volume = launch(), create()
    attach(volume, first)
    instance = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
    root = [
        mapping["Ebs"]["VolumeId"]
        for mapping in instance["BlockDeviceMappings"]
        if mapping["DeviceName"] == "/dev/sda1"
    ]
    ec2.terminate_instances(InstanceIds=[first])
    eventually(lambda: machines.made[first].destroyed)
    assert refusal(ec2.describe_volumes, VolumeIds=root) == "InvalidVolume.NotFound"
    assert attachments(ec2, volume) == []
    second = launch()
    attach(volume, second)
    assert machines.made[second].volumes == [volume]


def test_data_is_kept_as_long_as_the_volume(ec2, server, launch, create, attach):
    volume = create()
    attach(volume, launch())
    data = server.world.volumes.get(volume, 20)
    ec2.detach_volume(VolumeId=volume)
    attach(volume, launch())
    assert server.world.volumes.get(volume, 20) is data
    ec2.detach_volume(VolumeId=volume)
    ec2.delete_volume(VolumeId=volume)
    assert server.world.volumes.get(volume, 20) is not data


def test_an_attached_volume_cannot_be_deleted_or_attached_again(ec2, launch, create, attach):
    instance, other, volume = launch(), launch(), create()
    attach(volume, instance)
    assert refusal(ec2.delete_volume, VolumeId=volume) == "VolumeInUse"
    assert refusal(ec2.attach_volume, VolumeId=volume, InstanceId=other, Device="/dev/sdf") == "VolumeInUse"
    second = {"VolumeId": create(), "Device": "/dev/sdf"}
    assert refusal(ec2.attach_volume, InstanceId=instance, **second) == "InvalidParameterValue"


def test_invalid_attachments_are_refused(ec2, launch, create):
    instance, gone = launch(), launch()
    ec2.terminate_instances(InstanceIds=[gone])
    request = {"VolumeId": create(ELSEWHERE), "InstanceId": instance, "Device": "/dev/sdf"}
    assert refusal(ec2.attach_volume, **request) == "InvalidVolume.ZoneMismatch"
    request["VolumeId"] = create()
    assert refusal(ec2.attach_volume, **request, DryRun=True) == "DryRunOperation"
    assert refusal(ec2.attach_volume, **{**request, "InstanceId": gone}) == "IncorrectState"
    missing = {**request, "VolumeId": "vol-0123456789abcdef0"}
    assert refusal(ec2.attach_volume, **missing) == "InvalidVolume.NotFound"
    assert refusal(ec2.create_volume, AvailabilityZone="sa-east-1x", Size=1) == "InvalidZone.NotFound"


def test_invalid_detachments_are_refused(ec2, launch, create, attach):
    instance, other, volume = launch(), launch(), create()
    assert refusal(ec2.detach_volume, VolumeId=volume) == "IncorrectState"
    attach(volume, instance)
    assert refusal(ec2.detach_volume, VolumeId=volume, InstanceId=other) == "InvalidAttachment.NotFound"
    assert refusal(ec2.detach_volume, VolumeId=volume, Device="/dev/sdg") == "InvalidAttachment.NotFound"
    root = [{"Name": "attachment.device", "Values": ["/dev/sda1"]}]
    found = ec2.describe_volumes(Filters=root)["Volumes"][0]["VolumeId"]
    assert refusal(ec2.detach_volume, VolumeId=found) == "OperationNotPermitted"


def test_a_mounted_volume_is_busy_until_it_is_unmounted(ec2, machines, launch, create, attach):
    instance, volume = launch(), create()
    attach(volume, instance)
    machines.made[instance].mounted.add(volume)
    assert refusal(ec2.detach_volume, VolumeId=volume, Force=True) == "UnsupportedOperation"
    assert ec2.detach_volume(VolumeId=volume)["State"] == "busy"
    assert [attachment["State"] for attachment in attachments(ec2, volume)] == ["busy"]
    machines.made[instance].mounted.clear()
    assert attachments(ec2, volume) == []
    assert machines.made[instance].volumes == []


def test_a_volume_can_grow_but_not_shrink(ec2, create):
    volume = create()
    assert refusal(ec2.modify_volume, VolumeId=volume, Size=19) == "InvalidParameterValue"
    ec2.modify_volume(VolumeId=volume, Size=30)
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 30


def test_a_volume_stays_available_when_its_host_cannot_attach_it(ec2, machines, launch, create):
    instance, volume = launch(), create()
    machines.made[instance].no_devices = "no loop devices here"
    request = {"VolumeId": volume, "InstanceId": instance, "Device": "/dev/sdf"}
    assert refusal(ec2.attach_volume, **request) == "UnsupportedOperation"
    assert attachments(ec2, volume) == []
