"""Responses that violate botocore's service model are recorded, and are errors for the rehearsal's own operations."""

import json

import pytest
from flask import Flask
from werkzeug.wrappers import Response

from rehearsal.aws.ec2.service import RehearsalEC2
from rehearsal.conformance.checking import checked
from rehearsal.conformance.violations import SentResponse, Violations, violations
from tests.functional.support import AMI_PARAMETER

DATED = "<createTime>2026-01-31T11:30:00{zone}</createTime>"


def vpcs(inner):
    return f"<DescribeVpcsResponse><requestId>1</requestId><vpcSet>{inner}</vpcSet></DescribeVpcsResponse>"


def volumes(inner):
    return f"<DescribeVolumesResponse><volumeSet><item>{inner}</item></volumeSet></DescribeVolumesResponse>"


def role(inner):
    result = f"<GetRoleResult><Role>{inner}</Role></GetRoleResult>"
    return f"<GetRoleResponse>{result}<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetRoleResponse>"


ROLE = "<Path>/</Path><RoleName>a</RoleName><RoleId>AROA1</RoleId><Arn>arn:aws:iam::1:role/a</Arn>"
DATE = "<CreateDate>2026-01-31T11:30:00Z</CreateDate>"
ERROR = (
    "<Response><Errors><Error><Code>X</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID></Response>"
)


@pytest.mark.parametrize(
    ("service", "operation", "body"),
    [
        ("ec2", "DescribeVpcs", vpcs("<item><vpcId>vpc-1</vpcId><state>available</state></item>")),
        ("ec2", "DescribeVpcs", vpcs("")),
        ("ec2", "DescribeVolumes", volumes(DATED.format(zone="Z"))),
        ("ec2", "DescribeVolumes", volumes(DATED.format(zone=".123Z"))),
        ("iam", "GetRole", role(ROLE + DATE)),
        ("ssm", "GetParameter", '{"Parameter": {"Name": "a", "Version": 1, "LastModifiedDate": 1.5, "Type": null}}'),
        ("s3", "GetBucketLocation", "<LocationConstraint>sa-east-1</LocationConstraint>"),
        ("s3", "GetObject", "no XML at all"),
        ("s3", "GetBucketPolicy", '{"Version": "2012-10-17"}'),
        ("s3", "PutObject", ""),
        ("s3", "ListObjectsV2", "<R><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></R>"),
        ("ec2", "NoOperation", "anything"),
    ],
)
def test_responses_that_match_the_model(service, operation, body):
    assert violations(service, operation, SentResponse(200, {}, body.encode())) == []


@pytest.mark.parametrize(
    ("service", "operation", "body", "message"),
    [
        ("ec2", "DescribeVpcs", vpcs("<item><colour>red</colour></item>"), "<colour> is not in the model"),
        ("ec2", "DescribeVpcs", vpcs("<vpc/>"), "<vpc> where the model has <item>"),
        ("ec2", "DescribeVpcs", vpcs("<item><vpcId>a</vpcId><vpcId>b</vpcId></item>"), "<vpcId> is there 2 times"),
        ("ec2", "DescribeVpcs", vpcs("<item><isDefault>True</isDefault></item>"), "'True' is not a boolean"),
        ("ec2", "DescribeVpcs", vpcs("<item><state>gone</state></item>"), "satisfy enum value set"),
        ("ec2", "DescribeVpcs", "<DescribeSubnetsResponse/>", "should be <DescribeVpcsResponse>"),
        ("ec2", "DescribeVpcs", vpcs("<item>"), "can't be read"),
        ("ec2", "DescribeVolumes", volumes("<size>big</size>"), "can't be read"),
        ("ec2", "DescribeVolumes", volumes(DATED.format(zone="")), "is not a timestamp"),
        ("ec2", "DescribeVolumes", volumes("<createTime>yesterday</createTime>"), "can't be read"),
        ("iam", "GetRole", role(ROLE), "'role.createDate' failed to satisfy constraint: Member must not be null"),
        ("iam", "GetRole", role(ROLE + DATE + "<Colour/>"), "<Colour> is not in the model"),
        ("iam", "GetRole", "<GetRoleResponse><Role/></GetRoleResponse>", "can't be read"),
        ("ssm", "GetParameter", '{"Parameter": {"Value": 1}}', "1 is not a string"),
        ("ssm", "GetParameter", '{"Parameter": {"LastModifiedDate": "2026"}}', "is not a timestamp"),
        ("ssm", "GetParameter", '{"Parameter": {"Colour": "red"}}', "Colour is not in the model"),
        ("ssm", "GetParameter", '{"Parameter": {"Type": "Strings"}}', "satisfy enum value set"),
        ("ssm", "GetParameter", "{", "can't be read"),
        ("s3", "ListObjectsV2", "<R><Contents><Colour/></Contents></R>", "<Colour> is not in the model"),
        ("s3", "GetBucketVersioning", "<R><Status>Maybe</Status></R>", "satisfy enum value set"),
    ],
)
def test_responses_that_violate_the_model(service, operation, body, message):
    assert message in "\n".join(violations(service, operation, SentResponse(200, {}, body.encode())))


@pytest.mark.parametrize(
    ("service", "operation", "status", "body", "is_valid"),
    [
        ("ec2", "DescribeVpcs", 400, ERROR, True),
        ("ec2", "DescribeVpcs", 400, "<Response/>", False),
        ("ec2", "DescribeVpcs", 502, "<html>Bad Gateway</html>", False),
        ("s3", "GetObject", 404, "<Error><Code>NoSuchKey</Code></Error>", True),
        ("s3", "HeadObject", 404, "", True),
        ("ssm", "GetParameter", 400, '{"__type": "ParameterNotFound"}', True),
        ("ssm", "GetParameter", 400, "{}", False),
    ],
)
def test_errors_must_have_a_code(service, operation, status, body, is_valid):
    assert (violations(service, operation, SentResponse(status, {}, body.encode())) == []) == is_valid


def test_known_violations_of_moto_are_ignored(client, server):
    vpc = client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    client("ec2").create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.sa-east-1.s3")
    client("ec2").describe_vpc_endpoints()
    secret = client("secretsmanager").create_secret(Name="a", SecretString="b")["ARN"]
    client("secretsmanager").describe_secret(SecretId=secret)
    client("secretsmanager").list_secrets()
    client("s3").create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "sa-east-1"})
    client("s3").put_bucket_policy(Bucket="kept", Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
    client("ec2").describe_internet_gateways()
    client("ec2").describe_instance_types()
    key = client("kms").create_key()["KeyMetadata"]
    client("kms").list_retirable_grants(RetiringPrincipal=key["Arn"])
    assert server.world.misfits.shown() == {"misfits": []}


def test_a_copied_image_is_backed_by_ebs(ec2, ssm):
    image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
    copy = ec2.copy_image(Name="mine", SourceImageId=image, SourceRegion="sa-east-1")["ImageId"]
    (shown,) = ec2.describe_images(ImageIds=[copy])["Images"]
    assert shown["RootDeviceType"] == "ebs"


@pytest.mark.parametrize(("response_class", "status"), [(None, 200), (RehearsalEC2, 400)])
def test_violations_are_recorded_and_are_errors_for_own_operations(response_class, status):
    found = Violations()
    wrong = "<DescribeRegionsResponse><colour/></DescribeRegionsResponse>"
    view = checked(found, "ec2", response_class, lambda: Response(wrong))
    with Flask("test").test_request_context("/", data={"Action": "DescribeRegions"}, method="POST"):
        for _ in range(2):
            response = view()
    assert response.status_code == status
    assert ("<Code>UnsupportedOperation</Code>" in response.get_data(as_text=True)) == (response_class is not None)
    (recorded,) = found.shown()["misfits"]
    assert recorded == {
        "service": "ec2",
        "operation": "DescribeRegions",
        "misfit": ": <colour> is not in the model",
        "times": 2,
    }


def test_the_control_api_shows_violations_and_a_reset_keeps_them(server, control):
    assert control("misfits") == {"misfits": []}
    server.world.misfits.note("ec2", "DescribeVpcs", ["as noted by the test"])
    control("reset", {})
    assert json.dumps(control("misfits")).count("as noted by the test") == 1
    server.world.misfits.forget()
    assert control("misfits") == {"misfits": []}
