"""What each command needs to be allowed to do in AWS: a table, and the IAM policy made from it.

Actions are grouped by what they are for, so that whoever has to agree to a policy can. What Terraform's AWS provider
calls is in no reference of its own; tests hold this table against what a rehearsal is asked by every command. What an
in-place change or a data volume needs, and no test makes the provider do, is here from the EC2, IAM and Secrets Manager
API references. `sts:GetCallerIdentity` is called as well, and needs no permission.

Resources name what this project makes, where IAM can tell by a name; EC2's ids cannot be known before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torchneuron import marks
from torchneuron.setup.document import NAME_PREFIX, RUN_SHELL_SCRIPT

ALL = "all"
"""In place of a command's name: every command's permissions together."""

LONGEST = 6144
"""The characters of a managed policy, white space aside (IAM user guide, "IAM and AWS STS quotas")."""

_ANYTHING = ("*",)
_SAVED_PARAMETERS = ("arn:aws:ssm:*:*:parameter/capacity-block/*",)
_INSTANCES = ("arn:aws:ec2:*:*:instance/*",)
_DOCUMENTS = (f"arn:aws:ssm:*:*:document/{NAME_PREFIX}*",)
_RUN_SHELL_SCRIPT = f"arn:aws:ssm:*::document/{RUN_SHELL_SCRIPT}"
_BUCKET = "arn:aws:s3:::{bucket}"
_STATES = f"{_BUCKET}/{{project}}/*"
_ROLES = "arn:aws:iam::*:role/{role}*"
_PROFILES = "arn:aws:iam::*:instance-profile/{role}*"
_SECRETS = ("arn:aws:secretsmanager:*:*:secret:{project}-*",)
# Else whoever may deploy could give a machine's role, and so themselves, any permission there is.
_ONLY_SESSION_MANAGER = {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}}


@dataclass(frozen=True)
class Scope:
    """The names a policy is for. `bucket` may have wildcards: the state bucket's name before there is one."""

    project: str
    bucket: str
    ami_parameters: tuple[str, ...]


@dataclass(frozen=True)
class Grant:
    """Actions that belong together: one statement of a policy. `name` is its Sid, letters and digits only.

    `resources` are ARNs with {project}, {role}, {bucket}, and {ami} for each of the AMI parameters.
    """

    name: str
    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = _ANYTHING
    condition: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _of(service: str, *operations: str) -> tuple[str, ...]:
    return tuple(f"{service}:{operation}" for operation in operations)


_SEE_REGIONS = Grant("SeeRegions", "which regions the account has", _of("ec2", "DescribeRegions"))
_SEE_ALIAS = Grant(
    "SeeAccountAlias", "the account's name, shown before money is spent; optional", _of("iam", "ListAccountAliases")
)
_SEE_OFFERINGS = Grant("SeeOfferings", "what is on sale", _of("ec2", "DescribeCapacityBlockOfferings"))
_SEE_BLOCKS = Grant("SeeBlocks", "which blocks are yours already", _of("ec2", "DescribeCapacityReservations"))
_SEE_HEALTH = Grant("SeeHealth", "the health of blocks", _of("ec2", "DescribeCapacityBlockStatus"))
_SEE_INSTANCES = Grant("SeeInstances", "what runs", _of("ec2", "DescribeInstances"))
_SEE_OPENINGS = Grant("SeeOpenings", "who may reach the machine", _of("ec2", "DescribeSecurityGroups"))
_SEE_VOLUMES = Grant("SeeVolumes", "data volumes", _of("ec2", "DescribeVolumes"))
_SEE_ROOM = Grant(
    "SeeRoom",
    "where a type is offered, and how much of it the account may run",
    (*_of("ec2", "DescribeInstanceTypeOfferings", "DescribeInstanceTypes"), "servicequotas:GetServiceQuota"),
)
_SEE_EXTENSIONS = Grant(
    "SeeExtensions", "what blocks were extended by", _of("ec2", "DescribeCapacityBlockExtensionHistory")
)
_BUY = Grant("BuyBlocks", "spends money: buys blocks, tagged", _of("ec2", "PurchaseCapacityBlock", "CreateTags"))
_EXTEND = Grant(
    "ExtendBlocks",
    "spends money: buys more time",
    _of("ec2", "DescribeCapacityBlockExtensionOfferings", "PurchaseCapacityBlockExtension"),
)
_CANCEL = Grant("CancelReservations", "cancels what can be", _of("ec2", "CancelCapacityReservation"))
_FIND_SUBNETS = Grant("FindSubnets", "a subnet in the block's zone", _of("ec2", "DescribeSubnets", "DescribeVpcs"))
_READ_SAVED = Grant(
    "ReadSavedBlock", "the block in Parameter Store", _of("ssm", "GetParameter", "GetParameters"), _SAVED_PARAMETERS
)
_SAVE_BLOCK = Grant(
    "SaveBlock",
    "keeps a block in Parameter Store, or puts back what was there",
    _of("ssm", "PutParameter", "AddTagsToResource", "DeleteParameter"),
    _SAVED_PARAMETERS,
)

_MAKE_BUCKET = Grant(
    "MakeStateBucket",
    "makes the bucket for Terraform's state, and puts its settings right",
    _of(
        "s3",
        "CreateBucket",
        "ListBucket",
        "GetBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
        "GetBucketOwnershipControls",
        "PutBucketOwnershipControls",
        "GetBucketPolicy",
        "PutBucketPolicy",
        "GetEncryptionConfiguration",
        "PutEncryptionConfiguration",
        "GetBucketVersioning",
        "PutBucketVersioning",
        "GetBucketTagging",
        "PutBucketTagging",
    ),
    (_BUCKET,),
)
_READ_STATE = Grant("ReadState", "what Terraform has made", _of("s3", "ListBucket", "GetObject"), (_BUCKET, _STATES))
_WRITE_STATE = Grant("WriteState", "keeps what Terraform has made, and locks it", _of("s3", "PutObject"), (_STATES,))
_UNLOCK_STATE = Grant("UnlockState", "gives the lock back", _of("s3", "DeleteObject"), (f"{_STATES}.tflock",))

_READ_IMAGE = Grant("ReadImage", "the newest Neuron AMI", _of("ssm", "GetParameter"), ("{ami}",))
_SEE_MACHINE = Grant(
    "SeeMachine",
    "the machine and what it consists of, as Terraform compares them",
    _of(
        "ec2",
        "DescribeImages",
        "DescribeInstanceAttribute",
        "DescribeInstanceCreditSpecifications",
        "DescribeInstances",
        "DescribeInstanceTypes",
        "DescribeLaunchTemplates",
        "DescribeLaunchTemplateVersions",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeTags",
        "DescribeVolumes",
        "DescribeVolumesModifications",
        "DescribeVpcs",
        "GetInstanceUefiData",  # the provider asks for it with every AMI it looks up
    ),
)
_MAKE_MACHINE = Grant(
    "MakeMachine",
    "starts the machine, with its security group, launch template and volumes, and changes them",
    _of(
        "ec2",
        "AttachVolume",
        "AuthorizeSecurityGroupEgress",
        "AuthorizeSecurityGroupIngress",
        "CreateLaunchTemplate",
        "CreateLaunchTemplateVersion",
        "CreateSecurityGroup",
        "CreateTags",
        "CreateVolume",
        "DeleteTags",
        "ModifyInstanceMetadataOptions",
        "ModifyLaunchTemplate",
        "ModifyVolume",
        "RunInstances",
        "StartInstances",
    ),
)
_REMOVE_MACHINE = Grant(
    "RemoveMachine",
    "ends the machine and removes the rest",
    _of(
        "ec2",
        "DeleteLaunchTemplate",
        "DeleteSecurityGroup",
        "DeleteVolume",
        "DetachVolume",
        "ModifyInstanceAttribute",
        "RevokeSecurityGroupEgress",
        "RevokeSecurityGroupIngress",
        "StopInstances",
        "TerminateInstances",
    ),
)
_SEE_ROLE = Grant(
    "SeeRole",
    "the machine's role",
    _of(
        "iam",
        "GetInstanceProfile",
        "GetRole",
        "ListAttachedRolePolicies",
        "ListInstanceProfilesForRole",
        "ListRolePolicies",
    ),
    (_ROLES, _PROFILES),
)
_MAKE_ROLE = Grant(
    "MakeRole",
    "makes the machine's role and gives it to the machine",
    _of(
        "iam",
        "AddRoleToInstanceProfile",
        "CreateInstanceProfile",
        "CreateRole",
        "PassRole",
        "TagInstanceProfile",
        "TagRole",
        "UntagInstanceProfile",
        "UntagRole",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
        "UpdateRoleDescription",
    ),
    (_ROLES, _PROFILES),
)
_LET_IT_BE_MANAGED = Grant(
    "LetSystemsManagerIn",
    "lets Systems Manager manage the machine; no other policy may be attached",
    _of("iam", "AttachRolePolicy", "DetachRolePolicy"),
    (_ROLES,),
    _ONLY_SESSION_MANAGER,
)
_REMOVE_ROLE = Grant(
    "RemoveRole",
    "removes the machine's role",
    _of("iam", "DeleteInstanceProfile", "DeleteRole", "RemoveRoleFromInstanceProfile"),
    (_ROLES, _PROFILES),
)
_SEE_REMAINS = Grant(
    "SeeRemains",
    "what a deploy that was killed may have left: asked for by destroy, which can do without",
    _of("iam", "ListInstanceProfiles", "ListRoles"),
)
_READ_SECRET = Grant(
    "ReadPassword",
    "the password Terraform made; for a secret of your own (setup --secret-arn), name that one instead",
    _of("secretsmanager", "GetSecretValue"),
    _SECRETS,
)
_MAKE_PASSWORD = Grant(
    "MakePassword", "a random password, made by Secrets Manager", _of("secretsmanager", "GetRandomPassword")
)
_SEE_SECRET = Grant(
    "SeeSecret",
    "the password's secret, as Terraform compares it",
    _of("secretsmanager", "DescribeSecret", "GetResourcePolicy", "GetSecretValue", "ListSecretVersionIds"),
    _SECRETS,
)
_MAKE_SECRET = Grant(
    "MakeSecret",
    "makes the password's secret",
    _of(
        "secretsmanager",
        "CreateSecret",
        "PutSecretValue",
        "TagResource",
        "UntagResource",
        "UpdateSecret",
    ),
    _SECRETS,
)
_REMOVE_SECRET = Grant(
    "RemoveSecret", "removes it", _of("secretsmanager", "DeleteSecret", "UpdateSecretVersionStage"), _SECRETS
)

_SEE_COMMANDS = Grant(
    "SeeCommands",
    "whether Systems Manager reaches the machine, and what commands did there",
    _of("ssm", "DescribeInstanceInformation", "GetCommandInvocation", "ListCommandInvocations", "ListCommands"),
)
_FIND_DOCUMENTS = Grant("FindSetupDocuments", "old documents of ours", _of("ssm", "ListDocuments"))
_SEE_WHY_UNREACHED = Grant(
    "SeeWhyUnreached",
    "what a machine lacks that Systems Manager does not reach: asked for only then, and each can be done without",
    (
        *_of("ec2", "DescribeInstances", "DescribeRouteTables", "DescribeSecurityGroups", "DescribeVpcEndpoints"),
        *_of("iam", "GetInstanceProfile", "GetPolicy", "GetPolicyVersion", "GetRolePolicy"),
        *_of("iam", "ListAttachedRolePolicies", "ListRolePolicies"),
        *_of("ssm", "GetServiceSetting"),
    ),
)
_MAKE_DOCUMENTS = Grant(
    "MakeSetupDocuments",
    "the tasks as command documents",
    _of("ssm", "AddTagsToResource", "CreateDocument", "DeleteDocument", "DescribeDocument", "GetDocument"),
    _DOCUMENTS,
)
_CANCEL_COMMANDS = Grant("CancelSetup", "stops what is under way: --cancel", _of("ssm", "CancelCommand"))
_RUN = Grant(
    "RunSetup",
    "runs the tasks on a machine, as root",
    _of("ssm", "SendCommand"),
    (*_DOCUMENTS, *_INSTANCES, "arn:aws:ssm:*:*:managed-instance/*"),
)
_RUN_SCRIPTS = Grant(
    "RunScripts",
    "tasks one by one, where documents may not be made, and reads logs: runs anything on a machine, as root",
    _of("ssm", "SendCommand"),
    (_RUN_SHELL_SCRIPT, *_INSTANCES, "arn:aws:ssm:*:*:managed-instance/*"),
)
_FORWARD = Grant(
    "ForwardPorts",
    "the way to the editor: aws ssm start-session",
    _of("ssm", "StartSession"),
    (*_INSTANCES, "arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession"),
)
_OWN_SESSIONS = Grant(
    "OwnSessions",
    "sessions of your own only",
    ("ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"),
    ("arn:aws:ssm:*:*:session/${{aws:userid}}-*",),
)

_REACH = (_FORWARD, _OWN_SESSIONS)
_SET_UP = (_SEE_COMMANDS, _SEE_WHY_UNREACHED, _FIND_DOCUMENTS, _MAKE_DOCUMENTS, _RUN)
_INFO = (_READ_STATE, _SEE_INSTANCES, _SEE_BLOCKS)
# Where there is no state at hand.
_FIND_SECRET = Grant("FindSecret", "the secret by its tags", _of("secretsmanager", "ListSecrets"))
_FIND = (_SEE_VOLUMES, _FIND_SECRET)
_PLAN = (_READ_STATE, _WRITE_STATE, _UNLOCK_STATE, _READ_SAVED, _READ_IMAGE, _MAKE_PASSWORD)
_SEE = (_SEE_MACHINE, _SEE_ROLE, _SEE_SECRET)
_MAKE = (_MAKE_MACHINE, _MAKE_ROLE, _LET_IT_BE_MANAGED, _MAKE_SECRET)
_REMOVE = (_REMOVE_MACHINE, _REMOVE_ROLE, _LET_IT_BE_MANAGED, _REMOVE_SECRET)

NEEDED: Mapping[str, tuple[Grant, ...]] = {
    "cb.search": (_SEE_REGIONS, _SEE_OFFERINGS),
    "cb.purchase": (_SEE_ALIAS, _SEE_OFFERINGS, _SEE_BLOCKS, _BUY, _FIND_SUBNETS, _READ_SAVED, _SAVE_BLOCK),
    "cb.extend": (_SEE_ALIAS, _SEE_BLOCKS, _SEE_EXTENSIONS, _EXTEND, _READ_SAVED, _SAVE_BLOCK),
    "cb.list": (_SEE_BLOCKS, _SEE_INSTANCES, _SEE_HEALTH),
    "cb.describe": (_SEE_BLOCKS, _SEE_INSTANCES, _SEE_HEALTH, _SEE_EXTENSIONS),
    "cb.wait": (_SEE_BLOCKS, _READ_SAVED),
    "cb.cancel": (_SEE_BLOCKS, _SEE_EXTENSIONS, _CANCEL),
    "cb.save-params": (_SEE_BLOCKS, _FIND_SUBNETS, _READ_SAVED, _SAVE_BLOCK),
    "cb.load-params": (_READ_SAVED,),
    "bootstrap": (_MAKE_BUCKET,),
    "deploy": (
        *(_SEE_ALIAS, *_PLAN, _SEE_BLOCKS, _SEE_ROOM, *_SEE, *_MAKE, *_REMOVE, *_SET_UP, *_REACH),
        *(_SEE_REMAINS, _FIND_SECRET),  # --destroy
    ),
    "info": (*_INFO, *_FIND, _SEE_OPENINGS, *_REACH),
    "password": (*_INFO, *_FIND, _READ_SECRET),
    "destroy": (_SEE_ALIAS, *_PLAN, *_SEE, *_REMOVE, _SEE_REMAINS, _FIND_SECRET),
    "setup": (*_INFO, *_FIND, _SEE_OPENINGS, _READ_SECRET, *_SET_UP, _RUN_SCRIPTS, _CANCEL_COMMANDS),
    "setup.logs": (*_INFO, *_FIND, _SEE_COMMANDS, _RUN_SCRIPTS),
    "run-tasks": (*_INFO, *_FIND, *_SET_UP, _RUN_SCRIPTS, _CANCEL_COMMANDS),
    "doctor": (_SEE_REGIONS,),
    "rehearse": (),
}
"""By command, as `invoke` names it. A command that calls nothing in AWS has nothing."""


def needed_by(commands: Iterable[str]) -> tuple[Grant, ...]:
    """What these commands, of `NEEDED`, need together: each grant once."""
    return tuple({grant.name: grant for command in commands for grant in NEEDED[command]}.values())


def policy(grants: Iterable[Grant], scope: Scope) -> dict[str, Any]:
    """The IAM policy that allows `grants`, for what `scope` names: a statement each, named by its grant.

    Where that is longer than IAM takes, statements about the same resources become one, and have no name then.
    """
    statements = [_statement(grant, scope) for grant in grants]
    whole = _document(statements)
    if len(json.dumps(whole, separators=(",", ":"))) <= LONGEST:
        return whole
    return _document(_joined(statements))


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(grant: Grant, scope: Scope) -> dict[str, Any]:
    resources = [resource for template in grant.resources for resource in _filled(template, scope)]
    statement = {"Sid": grant.name, "Effect": "Allow", "Action": sorted(grant.actions), "Resource": resources}
    return {**statement, "Condition": grant.condition} if grant.condition else statement


def _joined(statements: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for statement in statements:
        same = {name: value for name, value in statement.items() if name not in ("Sid", "Action")}
        one = made.setdefault(json.dumps(same), {"Effect": "Allow", "Action": [], **same})
        one["Action"] = sorted({*one["Action"], *statement["Action"]})
    return list(made.values())


def _filled(template: str, scope: Scope) -> list[str]:
    if template == "{ami}":
        return [f"arn:aws:ssm:*:*:parameter/{name.lstrip('/')}" for name in dict.fromkeys(scope.ami_parameters)]
    return [template.format(project=scope.project, role=marks.role_prefix(scope.project), bucket=scope.bucket)]
