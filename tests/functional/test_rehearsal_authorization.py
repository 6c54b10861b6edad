"""IAM users and role sessions have the permissions in their policies; AWS's errors for everything else."""

import json

import pytest
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from tests.functional.principals import allow, clients_of, denied, document, make_user
from tests.functional.support import AMI_PARAMETER

ACCOUNT, REGION = "123456789012", "sa-east-1"
OURS = {"StringEquals": {"aws:ResourceTag/Project": "ours"}}


@pytest.fixture
def user(client, rehearsal_endpoint):
    """Clients of a new IAM user with these statements: `user(allow("ec2:Describe*"))("ec2")`."""

    def make(*statements, name="ann"):
        policies = [document(*statements)] if statements else []
        return clients_of(rehearsal_endpoint, make_user(client("iam"), name, *policies), REGION)

    return make


@pytest.fixture
def image(ssm):
    return ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]


def tagged(kind, **tags):
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def admin_role(iam, name="admin"):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document())
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def test_the_key_of_the_rehearsal_has_all_permissions(client):
    assert client("iam").create_user(UserName="ann")["User"]


def test_a_user_without_policies_may_only_call_get_caller_identity(user):
    mine = user()
    assert mine("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"
    with denied("UnauthorizedOperation", "You are not authorized to perform this operation. User: "):
        mine("ec2").describe_instances()


@pytest.mark.parametrize(
    ("service", "call", "code", "action", "resource"),
    [
        ("ssm", lambda ssm: ssm.list_commands(), "AccessDeniedException", "ssm:ListCommands", "*"),
        (
            "secretsmanager",
            lambda secrets: secrets.get_secret_value(SecretId="other"),
            "AccessDeniedException",
            "secretsmanager:GetSecretValue",
            f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:other",
        ),
        ("s3", lambda s3: s3.list_objects_v2(Bucket="other"), "AccessDenied", "s3:ListBucket", "arn:aws:s3:::other"),
        ("iam", lambda iam: iam.list_users(), "AccessDenied", "iam:ListUsers", "*"),
        (
            "servicequotas",
            lambda quotas: quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-2C3B7624"),
            "AccessDeniedException",
            "servicequotas:GetServiceQuota",
            "*",
        ),
    ],
)
def test_each_service_denies_access_with_its_own_error(user, service, call, code, action, resource):
    mine = user(allow("sts:*"))
    user_arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    message = f"User: {user_arn} is not authorized to perform: {action} on resource: {resource}"
    with denied(code, f"{message} because no identity-based policy allows the {action} action"):
        call(mine("service-quotas" if service == "servicequotas" else service))


def test_ec2_denies_a_change_with_an_encoded_message(user, ec2, launch):
    (instance,) = launch()
    resource = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance}"
    with denied("UnauthorizedOperation", resource, "Encoded authorization failure message: "):
        user()("ec2").terminate_instances(InstanceIds=[instance])


def test_an_explicit_deny_is_in_the_message(user):
    mine = user(allow("ssm:*"), {**allow("ssm:ListCommands"), "Effect": "Deny"})
    with denied("AccessDeniedException", "with an explicit deny in an identity-based policy"):
        mine("ssm").list_commands()


def test_inline_attached_and_group_policies_add_up(client, rehearsal_endpoint):
    iam = client("iam")
    mine = clients_of(rehearsal_endpoint, make_user(iam, "ann", document(allow("ssm:ListCommands"))), REGION)
    attached = iam.create_policy(PolicyName="attached", PolicyDocument=document(allow("ssm:ListDocuments")))
    iam.attach_user_policy(UserName="ann", PolicyArn=attached["Policy"]["Arn"])
    iam.create_group(GroupName="people")
    iam.put_group_policy(GroupName="people", PolicyName="p", PolicyDocument=document(allow("ec2:DescribeVpcs")))
    iam.add_user_to_group(GroupName="people", UserName="ann")
    assert "Commands" in mine("ssm").list_commands()
    assert "DocumentIdentifiers" in mine("ssm").list_documents()
    assert "Vpcs" in mine("ec2").describe_vpcs()
    with denied("UnauthorizedOperation"):
        mine("ec2").describe_subnets()


def test_permissions_depend_on_resource_tags(user, launch, ec2):
    ours, other = launch(2, tags={"Project": "other"})
    ec2.create_tags(Resources=[ours], Tags=[{"Key": "Project", "Value": "ours"}])
    mine = user(allow(["ec2:CreateTags", "ec2:DescribeInstanceAttribute"], "arn:aws:ec2:*:*:instance/*", **OURS))("ec2")
    assert mine.describe_instance_attribute(InstanceId=ours, Attribute="instanceType")
    with denied("UnauthorizedOperation", "ec2:DescribeInstanceAttribute"):
        mine.describe_instance_attribute(InstanceId=other, Attribute="instanceType")
    mine.create_tags(Resources=[ours], Tags=[{"Key": "Name", "Value": "n"}])
    with denied("UnauthorizedOperation", other):
        mine.create_tags(Resources=[ours, other], Tags=[{"Key": "Project", "Value": "ours"}])


def test_permissions_to_create_depend_on_request_tags(user):
    by_tag = {"StringEquals": {"aws:RequestTag/Project": "ours"}}
    by_tagging = {"StringEquals": {"ec2:CreateAction": "CreateVolume"}}
    volumes = "arn:aws:ec2:*:*:volume/*"
    mine = user(allow("ec2:CreateVolume", volumes, **by_tag), allow("ec2:CreateTags", volumes, **by_tagging))("ec2")
    parameters = {"AvailabilityZone": "sa-east-1a", "Size": 1}
    volume = mine.create_volume(**parameters, TagSpecifications=[tagged("volume", Project="ours")])["VolumeId"]
    for specification in ([tagged("volume", Project="other")], []):
        with denied("UnauthorizedOperation", "ec2:CreateVolume"):
            mine.create_volume(**parameters, TagSpecifications=specification)
    with denied("UnauthorizedOperation", "ec2:CreateTags"):
        mine.create_tags(Resources=[volume], Tags=[{"Key": "Project", "Value": "ours"}])


@pytest.mark.parametrize(
    "missing", ["instance/*", "volume/*", "network-interface/*", "subnet/*", "security-group/*", "image/*", "template"]
)
def test_a_launch_is_checked_on_all_resources_that_it_creates_and_uses(user, ec2, image, missing):
    template = ec2.create_launch_template(
        LaunchTemplateName="template", LaunchTemplateData={"InstanceType": "inf2.xlarge", "ImageId": image}
    )["LaunchTemplate"]["LaunchTemplateId"]
    request = {"LaunchTemplate": {"LaunchTemplateId": template}, "MinCount": 1, "MaxCount": 1, "DryRun": True}
    kinds = ["instance/*", "volume/*", "network-interface/*", "subnet/*", "security-group/*", "image/*"]
    kinds.append(f"launch-template/{template}")
    resources = [f"arn:aws:ec2:*:*:{kind}" for kind in kinds]
    with denied("DryRunOperation"):
        user(allow("ec2:RunInstances", resources))("ec2").run_instances(**request)
    others = [resource for resource in resources if missing not in resource]
    with denied("UnauthorizedOperation", "ec2:RunInstances"):
        user(allow("ec2:RunInstances", others), name="bob")("ec2").run_instances(**request)


def test_a_launch_is_checked_on_the_tags_and_the_role_of_its_template(user, ec2, client, image):
    admin_role(client("iam"))
    data = {"TagSpecifications": [tagged("instance", Project="ours")], "IamInstanceProfile": {"Name": "admin"}}
    ec2.create_launch_template(
        LaunchTemplateName="template", LaunchTemplateData={**data, "ImageId": image, "InstanceType": "inf2.xlarge"}
    )
    request = {"LaunchTemplate": {"LaunchTemplateName": "template"}, "MinCount": 1, "MaxCount": 1, "DryRun": True}
    launches = (
        allow("ec2:RunInstances"),
        allow("ec2:CreateTags", StringEquals={"aws:RequestTag/Project": "ours"}),
    )
    with denied("UnauthorizedOperation", "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin"):
        user(*launches)("ec2").run_instances(**request)
    passes = allow("iam:PassRole", "*", **{"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
    with denied("DryRunOperation"):
        user(*launches, passes, name="bob")("ec2").run_instances(**request)
    elsewhere = allow("iam:PassRole", "*", **{"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}})
    with denied("UnauthorizedOperation", "iam:PassRole"):
        user(*launches, elsewhere, name="eve")("ec2").run_instances(**request)
    with denied("UnauthorizedOperation", "ec2:CreateTags"):
        user(allow("ec2:RunInstances"), passes, name="joe")("ec2").run_instances(**request)


def test_adding_a_role_to_a_profile_needs_pass_role(user, client):
    iam = client("iam")
    admin_role(iam)
    iam.create_instance_profile(InstanceProfileName="mine")
    mine = user(allow("iam:AddRoleToInstanceProfile"))("iam")
    with denied("AccessDenied", "iam:PassRole", "role/admin"):
        mine.add_role_to_instance_profile(InstanceProfileName="mine", RoleName="admin")


def test_attaching_can_be_limited_to_named_policies(user, client):
    client("iam").create_role(RoleName="own-1", AssumeRolePolicyDocument=document())
    permitted = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    mine = user(allow("iam:AttachRolePolicy", "arn:aws:iam::*:role/own-*", ArnEquals={"iam:PolicyARN": permitted}))(
        "iam"
    )
    mine.attach_role_policy(RoleName="own-1", PolicyArn=permitted)
    with denied("AccessDenied", "iam:AttachRolePolicy"):
        mine.attach_role_policy(RoleName="own-1", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


def test_commands_can_be_limited_by_document_and_instance_tags(user, ssm, instance, ec2, document_named):
    document_named("own-1")
    document_named("other-1")
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "Project", "Value": "ours"}])
    tags = {"StringEquals": {"ssm:resourceTag/Project": "ours"}}
    mine = user(
        allow("ssm:SendCommand", "arn:aws:ssm:*:*:document/own-*"),
        allow("ssm:SendCommand", "arn:aws:ec2:*:*:instance/*", **tags),
    )("ssm")
    assert mine.send_command(InstanceIds=[instance], DocumentName="own-1")["Command"]
    assert mine.send_command(Targets=[{"Key": "tag:Project", "Values": ["ours"]}], DocumentName="own-1")["Command"]
    for name in ("other-1", "AWS-RunShellScript"):
        with denied("AccessDeniedException", "ssm:SendCommand", f"document/{name}"):
            mine.send_command(InstanceIds=[instance], DocumentName=name, Parameters={"commands": ["true"]})
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "Project", "Value": "other"}])
    for target in ({"InstanceIds": [instance]}, {"Targets": [{"Key": "tag:Project", "Values": ["other"]}]}):
        with denied("AccessDeniedException", "ssm:SendCommand", f"instance/{instance}"):
            mine.send_command(**target, DocumentName="own-1")


@pytest.fixture
def document_named(document):
    return lambda name: document(("only", ["out done"]), name=name)


def test_a_session_is_checked_on_its_document_when_the_policy_requires_it(user, instance):
    instances, forwarding = "arn:aws:ec2:*:*:instance/*", "arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession"
    checked = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
    start = {"Target": instance}
    loose = user(allow("ssm:StartSession", [instances, forwarding]))("ssm")
    with denied("AccessDeniedException", "document/AWS-StartSSHSession"):
        loose.start_session(**start, DocumentName="AWS-StartSSHSession")
    with pytest.raises(ClientError) as raised:
        loose.start_session(**start)
    assert "not authorized" not in str(raised.value)
    strict = user(allow("ssm:StartSession", [instances, forwarding], **checked), name="bob")("ssm")
    with denied("AccessDeniedException", "document/SSM-SessionManagerRunShell"):
        strict.start_session(**start)
    with pytest.raises(ClientError) as raised:
        strict.start_session(**start, DocumentName="AWS-StartPortForwardingSession")
    assert "not authorized" not in str(raised.value)


def test_access_to_buckets_of_other_accounts_is_denied(user, client, server):
    own = {"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}
    mine = user(allow("s3:*", "arn:aws:s3:::states-*", **own))("s3")
    mine.create_bucket(Bucket="states-1", CreateBucketConfiguration={"LocationConstraint": REGION})
    mine.put_object(Bucket="states-1", Key="a", Body=b"state")
    assert mine.get_object(Bucket="states-1", Key="a")["Body"].read() == b"state"
    with denied("AccessDenied", "s3:ListAllMyBuckets"):
        mine.list_buckets()
    s3_backends["999999999999"]["aws"].create_bucket("states-2", REGION)
    with denied("AccessDenied", "s3:PutObject", "arn:aws:s3:::states-2/a"):
        mine.put_object(Bucket="states-2", Key="a", Body=b"state")


def test_secrets_are_found_by_name_and_arn(user, client):
    secrets = client("secretsmanager")
    arns = {name: secrets.create_secret(Name=name, SecretString="s")["ARN"] for name in ("own-1", "other")}
    mine = user(allow("secretsmanager:*", f"arn:aws:secretsmanager:*:{ACCOUNT}:secret:own-*"))("secretsmanager")
    for name in ("own-1", arns["own-1"]):
        assert mine.get_secret_value(SecretId=name)["SecretString"] == "s"
    for name in ("other", arns["other"]):
        with denied("AccessDeniedException", arns["other"]):
            mine.get_secret_value(SecretId=name)
    assert mine.create_secret(Name="own-2", SecretString="s")


def test_public_parameters_have_no_account(user):
    mine = user(allow("ssm:GetParameter", "arn:aws:ssm:*::parameter/aws/service/neuron/*"))("ssm")
    assert mine.get_parameter(Name=AMI_PARAMETER)["Parameter"]
    with denied("AccessDeniedException", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/own"):
        mine.get_parameter(Name="/own")


def trust(*arns):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": list(arns)}}],
        }
    )


def test_a_session_has_the_policies_of_its_role(user, client, rehearsal_endpoint):
    iam = client("iam")
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:root"))["Role"]
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=document(allow("ssm:ListCommands")))
    mine = user(allow("sts:AssumeRole", role["Arn"]), allow("ssm:ListDocuments"))
    credentials = mine("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="job")["Credentials"]
    environment = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
    session = clients_of(rehearsal_endpoint, environment, REGION)("ssm")
    assert "Commands" in session.list_commands()
    with denied("AccessDeniedException", f"User: arn:aws:sts::{ACCOUNT}:assumed-role/reader/job is not authorized"):
        session.list_documents()
    iam.delete_role_policy(RoleName="reader", PolicyName="p")
    with denied("AccessDeniedException"):
        session.list_commands()


def test_a_role_can_be_assumed_by_trusted_principals(user, client):
    iam = client("iam")
    roles = {
        name: iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        for name, document in {
            "account": trust(f"arn:aws:iam::{ACCOUNT}:root"),
            "nobody": trust("arn:aws:iam::999999999999:root"),
            "ann": trust(f"arn:aws:iam::{ACCOUNT}:user/ann"),
        }.items()
    }
    without, allowed = user()("sts"), user(allow("sts:AssumeRole"), name="bob")("sts")
    assert without.assume_role(RoleArn=roles["ann"], RoleSessionName="job")["Credentials"]
    assert allowed.assume_role(RoleArn=roles["account"], RoleSessionName="job")["Credentials"]
    for sts, role in ((without, "account"), (allowed, "nobody"), (allowed, "ann")):
        with denied("AccessDenied", "sts:AssumeRole", f"role/{role}"):
            sts.assume_role(RoleArn=roles[role], RoleSessionName="job")


def test_other_services_are_checked_too(user):
    with denied("AccessDeniedException", "dynamodb:ListTables"):
        user(allow("ec2:*"))("dynamodb").list_tables()
