"""Who may connect to an instance is read from its security groups, whoever wrote the rules."""

import dataclasses

import pytest

from tests.functional.support import AMI_PARAMETER
from torchneuron.core import tags as project_tags
from torchneuron.deploy import ingress, inventory


@pytest.fixture
def group(ec2):
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    return ec2.create_security_group(GroupName="machine", Description="an instance's", VpcId=vpc)["GroupId"]


@pytest.fixture
def launch(ec2, ssm, group):
    """Launches an instance in the group, with tags, and returns its id."""
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]

    def run(tags):
        specifications = [{"ResourceType": "instance", "Tags": project_tags.to_aws(tags)}] if tags else []
        response = ec2.run_instances(
            ImageId=image,
            InstanceType="inf2.xlarge",
            MinCount=1,
            MaxCount=1,
            SecurityGroupIds=[group],
            TagSpecifications=specifications,
        )
        return response["Instances"][0]["InstanceId"]

    return run


@pytest.fixture
def ours(launch, config):
    return launch(project_tags.for_project(config.project_name))


def let_in(ec2, group, first, last, protocol="tcp", **sources):
    rule = {"IpProtocol": protocol, **({"FromPort": first, "ToPort": last} if protocol == "tcp" else {}), **sources}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])


OFFICE = {"IpRanges": [{"CidrIp": "203.0.113.0/24"}]}


@pytest.mark.attack("opens an instance in the console, without a deploy")
def test_a_rule_added_by_hand_is_found(aws, config, ec2, group, ours):
    found = inventory.by_tags(aws, config.project_name)
    assert ingress.look_up(aws, config, found).open_to == ()
    let_in(ec2, group, 0, 8000, Ipv6Ranges=[{"CidrIpv6": "2001:db8::/64"}], **OFFICE)
    let_in(ec2, group, -1, -1, protocol="-1", UserIdGroupPairs=[{"GroupId": group}])
    assert set(ingress.look_up(aws, config, found).open_to) == {"203.0.113.0/24", "2001:db8::/64", group}
    assert ingress.open_instances(aws, config, [ours]) == {ours}


@pytest.mark.parametrize(("tls", "opened"), [("off", False), ("self-signed", True)])
def test_only_nginx_ports_count(aws, config, ec2, group, ours, tls, opened):
    let_in(ec2, group, 22, 22, **OFFICE)
    let_in(ec2, group, 443, 443, **OFFICE)
    config = dataclasses.replace(config, tls=tls)
    assert ingress.open_instances(aws, config, [ours]) == ({ours} if opened else set())


@pytest.mark.parametrize("allowed_ips", [(), ("203.0.113.0/24",)], ids=["closed", "open"])
def test_the_settings_decide_for_instances_of_others(aws, config, ec2, group, launch, ours, allowed_ips):
    config = dataclasses.replace(config, allowed_ips=allowed_ips)
    theirs = launch({})
    assert ingress.open_instances(aws, config, [ours, theirs]) == ({theirs} if allowed_ips else set())
    let_in(ec2, group, 80, 80, **OFFICE)
    assert ingress.open_instances(aws, config, [ours, theirs]) == ({ours, theirs} if allowed_ips else {ours})


def test_the_settings_decide_if_security_groups_cannot_be_read(aws, config, fail, ours, capsys):
    fail("DescribeSecurityGroups", "error", code="UnauthorizedOperation", times=2)
    assert ingress.open_instances(aws, dataclasses.replace(config, allowed_ips=("203.0.113.7/32",)), [ours]) == {ours}
    assert "allowedIps in the settings is used instead" in capsys.readouterr().err
    found = dataclasses.replace(inventory.by_tags(aws, config.project_name), open_to=("203.0.113.7/32",))
    assert ingress.look_up(aws, config, found) == found
    assert "who may connect may have changed" in capsys.readouterr().err
