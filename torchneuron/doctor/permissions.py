"""The IAM permissions of each command: grants by name, and the names that each command needs.

Actions are grouped by purpose, for whoever reviews a policy. Terraform's AWS provider does not document its calls;
tests compare this table with the calls of every command in a rehearsal. What an in-place change or a data volume needs,
and no test exercises, is from the EC2, IAM and Secrets Manager API references. `sts:GetCallerIdentity` needs no
permission.

Resources are limited by name where the project sets the name, and by the tag `Project` where AWS generates an id:
`aws:RequestTag` for what is created, `aws:ResourceTag` and `ssm:resourceTag` for what is changed, deleted or connected
to. Tags may only be set on resources just created or already tagged; otherwise anyone who may tag could take over any
resource. The condition keys of each action are in the Service Authorization Reference. SSM commands and their output
have none: ListCommands, GetCommandInvocation and CancelCommand apply to all commands of the account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torchneuron.aws.iam_policies import Grant
from torchneuron.setup.document import NAME_PREFIX, RUN_SHELL_SCRIPT

ALL = "all"
"""Stands for all commands."""

_Condition = Mapping[str, Mapping[str, str | Sequence[str]]]

_IMAGE_PARAMETERS = ("{ami}",)
_BLOCK_PARAMETERS = ("arn:aws:ssm:*:*:parameter/capacity-block/*",)
_INSTANCES = ("arn:aws:ec2:*:*:instance/*",)
_DOCUMENTS = (f"arn:aws:ssm:*:*:document/{NAME_PREFIX}{{project}}-*",)
_BUCKET = "arn:aws:s3:::{bucket}"
_STATES = f"{_BUCKET}/{{project}}/*"
_ROLES = ("arn:aws:iam::*:role/{role}*",)
_ROLES_AND_PROFILES = (*_ROLES, "arn:aws:iam::*:instance-profile/{role}*")
_SECRETS = ("arn:aws:secretsmanager:*:*:secret:{project}-*",)

_CREATED_WITH_TAG: _Condition = {"StringEquals": {"aws:RequestTag/Project": "{project}"}}
_HAS_TAG: _Condition = {"StringEquals": {"aws:ResourceTag/Project": "{project}"}}
_INSTANCE_HAS_TAG: _Condition = {"StringEquals": {"ssm:resourceTag/Project": "{project}"}}
# A bucket's name does not identify its owner: another account may have created it first.
_IN_THIS_ACCOUNT: _Condition = {"StringEquals": {"aws:ResourceAccount": "${{aws:PrincipalAccount}}"}}


def _tagged_by(*operations: str) -> _Condition:
    return {"StringEquals": {"ec2:CreateAction": operations}}


def _ec2(*kinds: str) -> tuple[str, ...]:
    return tuple(f"arn:aws:ec2:*:*:{kind}/*" for kind in kinds)


def _grant(
    name: str, why: str, resources: tuple[str, ...] = ("*",), condition: _Condition | None = None, **actions: str
) -> Grant:
    """A grant of `actions`: by service, operations separated by spaces."""
    names = tuple(f"{service}:{operation}" for service, text in actions.items() for operation in text.split())
    return Grant(name, why, names, resources, condition or {})


_BLOCK_GRANTS = (
    _grant("SeeRegions", "lists the account's regions", ec2="DescribeRegions"),
    _grant("SeeAccountAlias", "the account's name in questions about money; optional", iam="ListAccountAliases"),
    _grant("SeeOfferings", "searches Capacity Block offerings", ec2="DescribeCapacityBlockOfferings"),
    _grant("SeeBlocks", "lists your Capacity Blocks", ec2="DescribeCapacityReservations"),
    _grant("SeeHealth", "the health of blocks", ec2="DescribeCapacityBlockStatus"),
    _grant("SeeInstances", "lists instances", ec2="DescribeInstances"),
    _grant("SeeExtensions", "the extensions of blocks", ec2="DescribeCapacityBlockExtensionHistory"),
    _grant(
        "BuyBlocks",
        "spends money: buys blocks, with the project's tags",
        condition=_CREATED_WITH_TAG,
        ec2="PurchaseCapacityBlock",
    ),
    _grant("TagBlocks", "tags blocks when bought", condition=_tagged_by("PurchaseCapacityBlock"), ec2="CreateTags"),
    _grant(
        "ExtendBlocks",
        "spends money: extends blocks",
        ec2="DescribeCapacityBlockExtensionOfferings PurchaseCapacityBlockExtension",
    ),
    _grant("CancelReservations", "cancels reservations", ec2="CancelCapacityReservation"),
    _grant("ReadSavedBlock", "reads the saved block", _BLOCK_PARAMETERS, ssm="GetParameter GetParameters"),
    _grant(
        "SaveBlock",
        "saves a block in Parameter Store",
        _BLOCK_PARAMETERS,
        ssm="PutParameter AddTagsToResource DeleteParameter",
    ),
    _grant(
        "KeepSavedBlock",
        "reads the saved block, and replaces it with the next one",
        _BLOCK_PARAMETERS,
        ssm="GetParameter GetParameters PutParameter AddTagsToResource DeleteParameter",
    ),
)
_LAUNCH_GRANTS = (
    _grant(
        "SeeRoom",
        "where a type is offered, and the account's quota for it",
        ec2="DescribeInstanceTypeOfferings DescribeInstanceTypes",
        servicequotas="GetServiceQuota",
    ),
    _grant("SeePrices", "the price of an on-demand launch; optional", pricing="GetProducts"),
    _grant(
        "FindSubnets",
        "finds a subnet that reaches Systems Manager",
        ec2="DescribeRouteTables DescribeSubnets DescribeVpcEndpoints DescribeVpcs",
    ),
    _grant("ReadImage", "the newest Neuron AMI", _IMAGE_PARAMETERS, ssm="GetParameter"),
    _grant("SeeImage", "the AMI's root device", ec2="DescribeImages"),
    _grant(
        "TryLaunch",
        "tests by a dry run whether a launch is allowed",
        _ec2("instance", "volume"),
        _CREATED_WITH_TAG,
        ec2="RunInstances",
    ),
    _grant(
        "TryNetwork",
        "the same, for what the launch uses",
        _ec2("image", "network-interface", "security-group", "snapshot", "subnet"),
        ec2="RunInstances",
    ),
    _grant("TryTags", "the same, for its tags", condition=_tagged_by("RunInstances"), ec2="CreateTags"),
)
_STATE_GRANTS = (
    _grant(
        "MakeStateBucket",
        "creates the bucket for Terraform's state, and corrects its settings",
        (_BUCKET,),
        _IN_THIS_ACCOUNT,
        s3="CreateBucket ListBucket GetBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketOwnershipControls"
        " PutBucketOwnershipControls GetBucketPolicy PutBucketPolicy GetEncryptionConfiguration"
        " PutEncryptionConfiguration GetBucketVersioning PutBucketVersioning GetBucketTagging PutBucketTagging",
    ),
    _grant("ReadState", "reads Terraform's state", (_BUCKET, _STATES), _IN_THIS_ACCOUNT, s3="ListBucket GetObject"),
    _grant("WriteState", "writes and locks Terraform's state", (_STATES,), _IN_THIS_ACCOUNT, s3="PutObject"),
    _grant("UnlockState", "releases the lock", (f"{_STATES}.tflock",), _IN_THIS_ACCOUNT, s3="DeleteObject"),
)
_DEPLOY_GRANTS = (
    _grant(
        "SeeMachine",
        "what Terraform compares: the instance and its parts",
        # The provider reads the UEFI data of every AMI that it looks up.
        ec2="DescribeImages DescribeInstanceAttribute DescribeInstanceCreditSpecifications DescribeInstances"
        " DescribeInstanceTypes DescribeLaunchTemplates DescribeLaunchTemplateVersions DescribeNetworkInterfaces"
        " DescribeSecurityGroups DescribeSubnets DescribeTags DescribeVolumes DescribeVolumesModifications DescribeVpcs"
        " GetInstanceUefiData",
    ),
    _grant(
        "MakeMachine",
        "launches the instance and creates its security group, launch template and volumes, with the project's tags",
        _ec2("instance", "launch-template", "security-group", "volume"),
        _CREATED_WITH_TAG,
        ec2="CreateLaunchTemplate CreateSecurityGroup CreateVolume RunInstances",
    ),
    _grant(
        "UseNetwork",
        "what a launch uses",
        _ec2("capacity-reservation", "image", "network-interface", "snapshot", "subnet", "vpc"),
        ec2="CreateSecurityGroup RunInstances",
    ),
    _grant(
        "TagNew",
        "tags resources when created, and only then",
        condition=_tagged_by("CreateLaunchTemplate", "CreateSecurityGroup", "CreateVolume", "RunInstances"),
        ec2="CreateTags",
    ),
    _grant(
        "ChangeMachine",
        "launches from the project's template, and changes resources with the project's tags",
        condition=_HAS_TAG,
        ec2="AttachVolume AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress CreateLaunchTemplateVersion"
        " CreateTags DeleteTags ModifyInstanceMetadataOptions ModifyLaunchTemplate ModifyVolume RunInstances"
        " StartInstances",
    ),
    _grant(
        "RemoveMachine",
        "terminates the instance and deletes its parts, if they have the project's tags",
        condition=_HAS_TAG,
        ec2="DeleteLaunchTemplate DeleteSecurityGroup DeleteVolume DetachVolume ModifyInstanceAttribute"
        " RevokeSecurityGroupEgress RevokeSecurityGroupIngress StopInstances TerminateInstances",
    ),
    _grant(
        "SeeRole",
        "the instance's role",
        _ROLES_AND_PROFILES,
        iam="GetInstanceProfile GetRole GetRolePolicy ListAttachedRolePolicies ListInstanceProfilesForRole"
        " ListRolePolicies",
    ),
    _grant(
        "MakeRole",
        "creates the instance's role",
        _ROLES_AND_PROFILES,
        iam="AddRoleToInstanceProfile CreateInstanceProfile CreateRole TagInstanceProfile TagRole"
        " UntagInstanceProfile UntagRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription",
    ),
    _grant(
        "PassRole",
        "gives the instance its role, and no other role to no other service",
        _ROLES,
        {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        iam="PassRole",
    ),
    _grant(
        "LetSystemsManagerIn",
        "lets the instance use Systems Manager and read its secret; IAM cannot limit what such a policy allows",
        _ROLES,
        iam="DeleteRolePolicy PutRolePolicy",
    ),
    _grant(
        "LeaveEarlierPolicy",
        "detaches the policy that earlier versions attached to the instance's role",
        _ROLES,
        {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}},
        iam="DetachRolePolicy",
    ),
    _grant(
        "RemoveRole",
        "deletes the instance's role",
        _ROLES_AND_PROFILES,
        iam="DeleteInstanceProfile DeleteRole RemoveRoleFromInstanceProfile",
    ),
    _grant(
        "SeeRemains",
        "finds orphans of a killed deploy; optional, for destroy",
        iam="ListInstanceProfiles ListRoles",
    ),
    _grant("SeeOpenings", "who may connect to the instance", ec2="DescribeSecurityGroups"),
    _grant("SeeVolumes", "data volumes", ec2="DescribeVolumes"),
)
_SECRET_GRANTS = (
    _grant("FindSecret", "finds the secret by its tags", secretsmanager="ListSecrets"),
    _grant(
        "SeeSecret",
        "what Terraform compares: the secret of the password",
        _SECRETS,
        secretsmanager="DescribeSecret GetResourcePolicy GetSecretValue ListSecretVersionIds",
    ),
    _grant(
        "MakeSecret",
        "creates the secret",
        _SECRETS,
        secretsmanager="CreateSecret PutSecretValue TagResource UntagResource UpdateSecret",
    ),
    _grant("RemoveSecret", "deletes the secret", _SECRETS, secretsmanager="DeleteSecret UpdateSecretVersionStage"),
    _grant("MakePassword", "generates a random password", secretsmanager="GetRandomPassword"),
    _grant(
        "ReadPassword",
        "reads the password; for setup --secret-arn, name that secret instead",
        _SECRETS,
        secretsmanager="GetSecretValue",
    ),
    _grant(
        "SeePasswordVersion",
        "which version of the password is current; the instance reads it itself",
        _SECRETS,
        secretsmanager="DescribeSecret",
    ),
    _grant(
        "ChangePassword",
        "changes the password: setup --password, --random-password",
        _SECRETS,
        secretsmanager="PutSecretValue UpdateSecretVersionStage",
    ),
    _grant(
        "SeeSecretVersions",
        "detects changes of the secrets that a task file refers to; optional",
        secretsmanager="DescribeSecret",
        ssm="DescribeParameters",
    ),
)
_SETUP_GRANTS = (
    _grant(
        "SeeCommands",
        "whether Systems Manager reaches the instance, and the results of commands",
        ssm="DescribeInstanceInformation GetCommandInvocation ListCommandInvocations ListCommands",
    ),
    _grant(
        "SeeWhyUnreached",
        "why Systems Manager does not reach an instance; called only then, each optional",
        ec2="DescribeInstances DescribeRouteTables DescribeSecurityGroups DescribeVpcEndpoints",
        iam="GetInstanceProfile GetPolicy GetPolicyVersion GetRolePolicy ListAttachedRolePolicies ListRolePolicies",
        ssm="GetServiceSetting",
    ),
    _grant("FindSetupDocuments", "lists the project's command documents", ssm="ListDocuments"),
    _grant(
        "MakeSetupDocuments",
        "creates command documents of the tasks, with the project's tags",
        _DOCUMENTS,
        _CREATED_WITH_TAG,
        ssm="AddTagsToResource CreateDocument",
    ),
    _grant(
        "RemoveSetupDocuments",
        "deletes them when their run has ended",
        _DOCUMENTS,
        ssm="DeleteDocument DescribeDocument",
    ),
    _grant("CancelSetup", "cancels a run: --cancel", ssm="CancelCommand"),
    _grant("RunSetup", "runs the tasks", _DOCUMENTS, ssm="SendCommand"),
    _grant(
        "RunScripts",
        "runs any script: tasks where documents may not be created, and reading logs",
        (f"arn:aws:ssm:*::document/{RUN_SHELL_SCRIPT}",),
        ssm="SendCommand",
    ),
    _grant(
        "OnMachines",
        "runs commands as root on instances with the project's tags; for others (setup -i), add their tag",
        (*_INSTANCES, "arn:aws:ssm:*:*:managed-instance/*"),
        _INSTANCE_HAS_TAG,
        ssm="SendCommand",
    ),
    _grant(
        "ForwardPorts",
        "forwards the editor's port from instances with the project's tags: aws ssm start-session",
        _INSTANCES,
        {**_INSTANCE_HAS_TAG, "BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}},
        ssm="StartSession",
    ),
    _grant(
        "ForwardOnly",
        "with the document that forwards a port: no shell",
        ("arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession",),
        ssm="StartSession",
    ),
    _grant(
        "OwnSessions",
        "your own sessions only",
        ("arn:aws:ssm:*:*:session/${{aws:userid}}-*",),
        ssm="ResumeSession TerminateSession",
        ssmmessages="OpenDataChannel",
    ),
)
_GRANTS = {
    grant.name: grant
    for grant in (
        *(*_BLOCK_GRANTS, *_LAUNCH_GRANTS, *_STATE_GRANTS),
        *(*_DEPLOY_GRANTS, *_SECRET_GRANTS, *_SETUP_GRANTS),
    )
}


def _named(*names: str) -> tuple[Grant, ...]:
    """The grants of these names, separated by spaces."""
    return tuple(_GRANTS[name] for name in " ".join(names).split())


_CHECK_LAUNCH = "ReadImage SeeImage SeeRoom FindSubnets TryLaunch TryNetwork TryTags"
_FORWARD = "ForwardPorts ForwardOnly OwnSessions"
_DELETE_DOCUMENTS = "FindSetupDocuments SeeCommands RemoveSetupDocuments"
_SET_UP = f"SeeWhyUnreached {_DELETE_DOCUMENTS} MakeSetupDocuments RunSetup OnMachines"
_INFO = "ReadState SeeInstances SeeBlocks SeeVolumes FindSecret"
_STATE = "ReadState WriteState UnlockState"
_COMPARE = "SeeMachine SeeRole SeeSecret"
_CREATE = "MakeMachine UseNetwork TagNew ChangeMachine PassRole MakeRole LetSystemsManagerIn MakeSecret"
_REMOVE = "RemoveMachine RemoveRole LetSystemsManagerIn LeaveEarlierPolicy RemoveSecret"

NEEDED: Mapping[str, tuple[Grant, ...]] = {
    "cb.search": _named("SeeRegions SeeOfferings"),
    "cb.purchase": _named(
        "SeeAccountAlias SeeOfferings SeeBlocks BuyBlocks TagBlocks", _CHECK_LAUNCH, "ReadSavedBlock SaveBlock"
    ),
    "cb.extend": _named("SeeAccountAlias SeeBlocks SeeExtensions ExtendBlocks ReadSavedBlock SaveBlock"),
    "cb.list": _named("SeeBlocks SeeInstances SeeHealth"),
    "cb.describe": _named("SeeBlocks SeeInstances SeeHealth SeeExtensions"),
    "cb.wait": _named("SeeBlocks ReadSavedBlock"),
    "cb.cancel": _named("SeeBlocks SeeExtensions CancelReservations"),
    "cb.save-params": _named("SeeBlocks FindSubnets ReadSavedBlock SaveBlock"),
    "cb.load-params": _named("ReadSavedBlock"),
    "bootstrap": _named("MakeStateBucket"),
    "deploy": _named(
        # The checks before the launch need more, which the other grants include.
        f"SeeAccountAlias {_STATE} KeepSavedBlock ReadImage MakePassword SeeBlocks SeeRoom SeePrices",
        *(_COMPARE, _CREATE, _REMOVE, _SET_UP, _FORWARD),
        "SeeRemains FindSecret",  # --destroy
    ),
    "info": _named(_INFO, "SeeOpenings", _FORWARD),
    "password": _named(_INFO, "ReadPassword"),
    "destroy": _named(
        f"SeeAccountAlias {_STATE} ReadSavedBlock ReadImage MakePassword",
        *(_COMPARE, _REMOVE, _DELETE_DOCUMENTS),
        "SeeRemains FindSecret",
    ),
    "setup": _named(
        *(_INFO, "SeeOpenings ReadPassword SeePasswordVersion ChangePassword"),
        *(_SET_UP, "RunScripts CancelSetup"),
    ),
    "setup.logs": _named(_INFO, "SeeCommands RunScripts OnMachines"),
    "run-tasks": _named(_INFO, "SeeSecretVersions", _SET_UP, "RunScripts CancelSetup"),
    "doctor": _named("SeeRegions", _CHECK_LAUNCH),
    "rehearse": (),
}
"""The grants of each command, by its name in `invoke`."""


def needed_by(commands: Iterable[str]) -> tuple[Grant, ...]:
    """The grants that these commands, of `NEEDED`, need together, without duplicates."""
    return tuple({grant.name: grant for command in commands for grant in NEEDED[command]}.values())
