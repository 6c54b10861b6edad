"""To whom a machine is open is read from its security group, whoever wrote the rules there."""

import dataclasses

import pytest

from tests.functional.support import AMI_PARAMETER
from torchneuron.core import tags as project_tags
from torchneuron.deploy import ingress, inventory


@pytest.fixture
def group(ec2):
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    return ec2.create_security_group(GroupName="machine", Description="a machine's", VpcId=vpc)["GroupId"]


@pytest.fixture
def launch(ec2, ssm, group):
    """Launches an instance in the group, with tags; its id."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def launch(tags):
        listed = [{"ResourceType": "instance", "Tags": project_tags.to_aws(tags)}] if tags else []
        made = ec2.run_instances(
            ImageId=image,
            InstanceType="inf2.xlarge",
            MinCount=1,
            MaxCount=1,
            SecurityGroupIds=[group],
            TagSpecifications=listed,
        )
        return made["Instances"][0]["InstanceId"]

    return launch


@pytest.fixture
def ours(launch, config):
    return launch(project_tags.for_project(config.project_name))


def let_in(ec2, group, first, last, protocol="tcp", **sources):
    rule = {"IpProtocol": protocol, **({"FromPort": first, "ToPort": last} if protocol == "tcp" else {}), **sources}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])


OFFICE = {"IpRanges": [{"CidrIp": "203.0.113.0/24"}]}


@pytest.mark.attack("opens a machine in the console, so that no deploy has said so")
def test_a_rule_made_by_hand_is_seen(aws, config, ec2, group, ours):
    found = inventory.by_tags(aws, config.project_name)
    assert ingress.look_up(aws, config, found).open_to == ()
    let_in(ec2, group, 0, 8000, Ipv6Ranges=[{"CidrIpv6": "2001:db8::/64"}], **OFFICE)
    let_in(ec2, group, -1, -1, protocol="-1", UserIdGroupPairs=[{"GroupId": group}])
    assert set(ingress.look_up(aws, config, found).open_to) == {"203.0.113.0/24", "2001:db8::/64", group}
    assert ingress.open_instances(aws, config, [ours]) == {ours}


@pytest.mark.parametrize(("tls", "opened"), [("off", False), ("self-signed", True)])
def test_only_what_nginx_listens_on_counts(aws, config, ec2, group, ours, tls, opened):
    let_in(ec2, group, 22, 22, **OFFICE)
    let_in(ec2, group, 443, 443, **OFFICE)
    config = dataclasses.replace(config, tls=tls)
    assert ingress.open_instances(aws, config, [ours]) == ({ours} if opened else set())


@pytest.mark.parametrize("allowed_ips", [(), ("203.0.113.0/24",)], ids=["closed", "open"])
def test_an_instance_of_somebody_else_goes_by_the_settings(aws, config, ec2, group, launch, ours, allowed_ips):
    config = dataclasses.replace(config, allowed_ips=allowed_ips)
    theirs = launch({})
    assert ingress.open_instances(aws, config, [ours, theirs]) == ({theirs} if allowed_ips else set())
    let_in(ec2, group, 80, 80, **OFFICE)
    assert ingress.open_instances(aws, config, [ours, theirs]) == ({ours, theirs} if allowed_ips else {ours})


def test_who_may_not_look_is_told_and_the_settings_decide(aws, config, fail, ours, capsys):
    fail("DescribeSecurityGroups", "error", code="UnauthorizedOperation", times=2)
    assert ingress.open_instances(aws, dataclasses.replace(config, allowed_ips=("203.0.113.7/32",)), [ours]) == {ours}
    assert "allowedIps in the settings decides" in capsys.readouterr().err
    found = dataclasses.replace(inventory.by_tags(aws, config.project_name), open_to=("203.0.113.7/32",))
    assert ingress.look_up(aws, config, found) == found
    assert "who may connect may have changed" in capsys.readouterr().err
