"""What each command needs to be allowed to do in AWS: a table, of which `iam_policies` makes policies.

Actions are grouped by what they are for, so that whoever has to agree to a policy can. What Terraform's AWS provider
calls is in no reference of its own; tests hold this table against what a rehearsal is asked by every command. What an
in-place change or a data volume needs, and no test makes the provider do, is here from the EC2, IAM and Secrets Manager
API references. `sts:GetCallerIdentity` is called as well, and needs no permission.

Resources name what this project makes, where IAM can tell by a name. What has an id only (machines, volumes, security
groups, launch templates) is told by the project's tags: they are required of what is made, by `aws:RequestTag`, and of
what is changed or removed, by `aws:ResourceTag` or `ssm:resourceTag`. Tags may be set on what is just made and on what
has them already: else whoever may tag could make anything the project's own.

Which keys an action knows: Service Authorization Reference. Commands and their output have no keys: ListCommands,
GetCommandInvocation and CancelCommand are allowed for all of the account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torchneuron.aws.iam_policies import Grant
from torchneuron.setup.document import NAME_PREFIX, RUN_SHELL_SCRIPT

ALL = "all"
"""In place of a command's name: every command's permissions together."""

_SAVED_PARAMETERS = ("arn:aws:ssm:*:*:parameter/capacity-block/*",)
_INSTANCES = ("arn:aws:ec2:*:*:instance/*",)
_DOCUMENTS = (f"arn:aws:ssm:*:*:document/{NAME_PREFIX}{{project}}-*",)
_RUN_SHELL_SCRIPT = f"arn:aws:ssm:*::document/{RUN_SHELL_SCRIPT}"
_BUCKET = "arn:aws:s3:::{bucket}"
_STATES = f"{_BUCKET}/{{project}}/*"
_ROLES = "arn:aws:iam::*:role/{role}*"
_PROFILES = "arn:aws:iam::*:instance-profile/{role}*"
_IS_MADE_OURS = {"StringEquals": {"aws:RequestTag/Project": "{project}"}}
_IS_OURS = {"StringEquals": {"aws:ResourceTag/Project": "{project}"}}
_IS_OUR_MACHINE = {"StringEquals": {"ssm:resourceTag/Project": "{project}"}}
# A bucket's name says nothing of whose it is: another account may have made it first.
_IN_THIS_ACCOUNT = {"StringEquals": {"aws:ResourceAccount": "${{aws:PrincipalAccount}}"}}
_SECRETS = ("arn:aws:secretsmanager:*:*:secret:{project}-*",)
_ONLY_SESSION_MANAGER = {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"}}


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
_SEE_PRICES = Grant("SeePrices", "what an on-demand launch costs: deploy can do without", _of("pricing", "GetProducts"))
_SEE_EXTENSIONS = Grant(
    "SeeExtensions", "what blocks were extended by", _of("ec2", "DescribeCapacityBlockExtensionHistory")
)
_BUY = Grant(
    "BuyBlocks",
    "spends money: buys blocks, with the project's tags",
    _of("ec2", "PurchaseCapacityBlock"),
    condition=_IS_MADE_OURS,
)
_TAG_BLOCKS = Grant(
    "TagBlocks",
    "tags blocks that are just bought",
    _of("ec2", "CreateTags"),
    condition={"StringEquals": {"ec2:CreateAction": "PurchaseCapacityBlock"}},
)
_EXTEND = Grant(
    "ExtendBlocks",
    "spends money: buys more time",
    _of("ec2", "DescribeCapacityBlockExtensionOfferings", "PurchaseCapacityBlockExtension"),
)
_CANCEL = Grant("CancelReservations", "cancels what can be", _of("ec2", "CancelCapacityReservation"))
_FIND_SUBNETS = Grant(
    "FindSubnets",
    "a subnet in the block's zone, with a way out",
    _of("ec2", "DescribeRouteTables", "DescribeSubnets", "DescribeVpcEndpoints", "DescribeVpcs"),
)
_READ_IMAGE = Grant("ReadImage", "the newest Neuron AMI", _of("ssm", "GetParameter"), ("{ami}",))
_READ_SAVED = Grant(
    "ReadSavedBlock", "the block in Parameter Store", _of("ssm", "GetParameter", "GetParameters"), _SAVED_PARAMETERS
)
_SAVE_BLOCK = Grant(
    "SaveBlock",
    "keeps a block in Parameter Store, or puts back what was there",
    _of("ssm", "PutParameter", "AddTagsToResource", "DeleteParameter"),
    _SAVED_PARAMETERS,
)
_KEEP_SAVED = Grant(
    "KeepSavedBlock",
    "the block in Parameter Store, and the next one in its place",
    (*_READ_SAVED.actions, *_SAVE_BLOCK.actions),
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
    _IN_THIS_ACCOUNT,
)
_READ_STATE = Grant(
    "ReadState",
    "what Terraform has made",
    _of("s3", "ListBucket", "GetObject"),
    (_BUCKET, _STATES),
    _IN_THIS_ACCOUNT,
)
_WRITE_STATE = Grant(
    "WriteState",
    "keeps what Terraform has made, and locks it",
    _of("s3", "PutObject"),
    (_STATES,),
    _IN_THIS_ACCOUNT,
)
_UNLOCK_STATE = Grant(
    "UnlockState",
    "gives the lock back",
    _of("s3", "DeleteObject"),
    (f"{_STATES}.tflock",),
    _IN_THIS_ACCOUNT,
)

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
    "starts the machine and makes its security group, launch template and volumes, with the project's tags",
    _of("ec2", "CreateLaunchTemplate", "CreateSecurityGroup", "CreateVolume", "RunInstances"),
    tuple(f"arn:aws:ec2:*:*:{kind}/*" for kind in ("instance", "launch-template", "security-group", "volume")),
    _IS_MADE_OURS,
)
_USE_NETWORK = Grant(
    "UseNetwork",
    "what a machine is started from and where",
    _of("ec2", "CreateSecurityGroup", "RunInstances"),
    tuple(
        f"arn:aws:ec2:*:*:{kind}/*"
        for kind in ("capacity-reservation", "image", "network-interface", "snapshot", "subnet", "vpc")
    ),
)
_TAG_NEW = Grant(
    "TagNew",
    "tags what is just made, and nothing else",
    _of("ec2", "CreateTags"),
    condition={
        "StringEquals": {
            "ec2:CreateAction": ["CreateLaunchTemplate", "CreateSecurityGroup", "CreateVolume", "RunInstances"]
        }
    },
)
_TRY_LAUNCH = Grant(
    "TryLaunch",
    "whether you may launch a machine with the project's tags, asked by a dry run",
    _of("ec2", "RunInstances"),
    tuple(f"arn:aws:ec2:*:*:{kind}/*" for kind in ("instance", "volume")),
    _IS_MADE_OURS,
)
_TRY_NETWORK = Grant(
    "TryNetwork",
    "the same, for what it is started from and where",
    _of("ec2", "RunInstances"),
    tuple(
        f"arn:aws:ec2:*:*:{kind}/*" for kind in ("image", "network-interface", "security-group", "snapshot", "subnet")
    ),
)
_TRY_TAGS = Grant(
    "TryTags",
    "the same, for its tags",
    _of("ec2", "CreateTags"),
    condition={"StringEquals": {"ec2:CreateAction": ["RunInstances"]}},
)
_SEE_IMAGE = Grant("SeeImage", "the AMI's root device", _of("ec2", "DescribeImages"))
_CHECK_LAUNCH = (_READ_IMAGE, _SEE_IMAGE, _SEE_ROOM, _FIND_SUBNETS, _TRY_LAUNCH, _TRY_NETWORK, _TRY_TAGS)
_CHANGE_MACHINE = Grant(
    "ChangeMachine",
    "starts from the project's template, and changes what has the project's tags",
    _of(
        "ec2",
        "AttachVolume",
        "AuthorizeSecurityGroupEgress",
        "AuthorizeSecurityGroupIngress",
        "CreateLaunchTemplateVersion",
        "CreateTags",
        "DeleteTags",
        "ModifyInstanceMetadataOptions",
        "ModifyLaunchTemplate",
        "ModifyVolume",
        "RunInstances",
        "StartInstances",
    ),
    condition=_IS_OURS,
)
_REMOVE_MACHINE = Grant(
    "RemoveMachine",
    "ends the machine and removes the rest, where it has the project's tags",
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
    condition=_IS_OURS,
)
_SEE_ROLE = Grant(
    "SeeRole",
    "the machine's role",
    _of(
        "iam",
        "GetInstanceProfile",
        "GetRole",
        "GetRolePolicy",
        "ListAttachedRolePolicies",
        "ListInstanceProfilesForRole",
        "ListRolePolicies",
    ),
    (_ROLES, _PROFILES),
)
_MAKE_ROLE = Grant(
    "MakeRole",
    "makes the machine's role",
    _of(
        "iam",
        "AddRoleToInstanceProfile",
        "CreateInstanceProfile",
        "CreateRole",
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
_PASS_ROLE = Grant(
    "PassRole",
    "gives the machine its role, and no other one, to no other service",
    _of("iam", "PassRole"),
    (_ROLES,),
    {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
)
_LET_IT_BE_MANAGED = Grant(
    "LetSystemsManagerIn",
    "lets the machine be managed and read its secret; IAM cannot limit what such a policy says",
    _of("iam", "DeleteRolePolicy", "PutRolePolicy"),
    (_ROLES,),
)
_LEAVE_EARLIER_POLICY = Grant(
    "LeaveEarlierPolicy",
    "takes away the policy that earlier versions attached to the machine's role",
    _of("iam", "DetachRolePolicy"),
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
_SEE_VERSION = Grant(
    "SeePasswordVersion",
    "which version of the password is in force: the machine reads it by itself",
    _of("secretsmanager", "DescribeSecret"),
    _SECRETS,
)
_CHANGE_PASSWORD = Grant(
    "ChangePassword",
    "another password: setup --password, --random-password",
    _of("secretsmanager", "PutSecretValue", "UpdateSecretVersionStage"),
    _SECRETS,
)
_FIND_VERSIONS = Grant(
    "SeeSecretVersions",
    "versions of what a task file's secrets refer to, to see a change; can be done without",
    ("secretsmanager:DescribeSecret", "ssm:DescribeParameters"),
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
    "the tasks as command documents, with the project's tags",
    _of("ssm", "AddTagsToResource", "CreateDocument"),
    _DOCUMENTS,
    _IS_MADE_OURS,
)
_REMOVE_DOCUMENTS = Grant(
    "RemoveSetupDocuments",
    "removes them when their run has ended",
    _of("ssm", "DeleteDocument", "DescribeDocument"),
    _DOCUMENTS,
)
_CANCEL_COMMANDS = Grant("CancelSetup", "stops what is under way: --cancel", _of("ssm", "CancelCommand"))
_RUN = Grant("RunSetup", "runs the tasks", _of("ssm", "SendCommand"), _DOCUMENTS)
_RUN_SCRIPTS = Grant(
    "RunScripts",
    "tasks one by one, where documents may not be made, and reads logs: runs anything",
    _of("ssm", "SendCommand"),
    (_RUN_SHELL_SCRIPT,),
)
_ON_MACHINES = Grant(
    "OnMachines",
    "on machines with the project's tags, as root; for others (setup -i), add their tag",
    _of("ssm", "SendCommand"),
    (*_INSTANCES, "arn:aws:ssm:*:*:managed-instance/*"),
    _IS_OUR_MACHINE,
)
_FORWARD = Grant(
    "ForwardPorts",
    "the way to the editor on machines with the project's tags: aws ssm start-session",
    _of("ssm", "StartSession"),
    _INSTANCES,
    {**_IS_OUR_MACHINE, "BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}},
)
_FORWARD_ONLY = Grant(
    "ForwardOnly",
    "by the document that forwards a port: no shell",
    _of("ssm", "StartSession"),
    ("arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession",),
)
_OWN_SESSIONS = Grant(
    "OwnSessions",
    "sessions of your own only",
    ("ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"),
    ("arn:aws:ssm:*:*:session/${{aws:userid}}-*",),
)

_REACH = (_FORWARD, _FORWARD_ONLY, _OWN_SESSIONS)
_CLEAR = (_FIND_DOCUMENTS, _SEE_COMMANDS, _REMOVE_DOCUMENTS)
_SET_UP = (_SEE_WHY_UNREACHED, *_CLEAR, _MAKE_DOCUMENTS, _RUN, _ON_MACHINES)
_INFO = (_READ_STATE, _SEE_INSTANCES, _SEE_BLOCKS)
# Where there is no state at hand.
_FIND_SECRET = Grant("FindSecret", "the secret by its tags", _of("secretsmanager", "ListSecrets"))
_FIND = (_SEE_VOLUMES, _FIND_SECRET)
_PLAN = (_READ_STATE, _WRITE_STATE, _UNLOCK_STATE, _READ_SAVED, _READ_IMAGE, _MAKE_PASSWORD)
_SEE = (_SEE_MACHINE, _SEE_ROLE, _SEE_SECRET)
_MAKE = (
    _MAKE_MACHINE,
    _USE_NETWORK,
    _TAG_NEW,
    _CHANGE_MACHINE,
    _PASS_ROLE,
    _MAKE_ROLE,
    _LET_IT_BE_MANAGED,
    _MAKE_SECRET,
)
_REMOVE = (_REMOVE_MACHINE, _REMOVE_ROLE, _LET_IT_BE_MANAGED, _LEAVE_EARLIER_POLICY, _REMOVE_SECRET)

NEEDED: Mapping[str, tuple[Grant, ...]] = {
    "cb.search": (_SEE_REGIONS, _SEE_OFFERINGS),
    "cb.purchase": (
        _SEE_ALIAS,
        _SEE_OFFERINGS,
        _SEE_BLOCKS,
        _BUY,
        _TAG_BLOCKS,
        *_CHECK_LAUNCH,
        _READ_SAVED,
        _SAVE_BLOCK,
    ),
    "cb.extend": (_SEE_ALIAS, _SEE_BLOCKS, _SEE_EXTENSIONS, _EXTEND, _READ_SAVED, _SAVE_BLOCK),
    "cb.list": (_SEE_BLOCKS, _SEE_INSTANCES, _SEE_HEALTH),
    "cb.describe": (_SEE_BLOCKS, _SEE_INSTANCES, _SEE_HEALTH, _SEE_EXTENSIONS),
    "cb.wait": (_SEE_BLOCKS, _READ_SAVED),
    "cb.cancel": (_SEE_BLOCKS, _SEE_EXTENSIONS, _CANCEL),
    "cb.save-params": (_SEE_BLOCKS, _FIND_SUBNETS, _READ_SAVED, _SAVE_BLOCK),
    "cb.load-params": (_READ_SAVED,),
    "bootstrap": (_MAKE_BUCKET,),
    "deploy": (
        # The rest of what a look before the launch needs is in these as well.
        *(_SEE_ALIAS, _READ_STATE, _WRITE_STATE, _UNLOCK_STATE, _KEEP_SAVED, _READ_IMAGE, _MAKE_PASSWORD),
        *(_SEE_BLOCKS, _SEE_ROOM, _SEE_PRICES),
        *(*_SEE, *_MAKE, *_REMOVE, *_SET_UP, *_REACH),
        *(_SEE_REMAINS, _FIND_SECRET),  # --destroy
    ),
    "info": (*_INFO, *_FIND, _SEE_OPENINGS, *_REACH),
    "password": (*_INFO, *_FIND, _READ_SECRET),
    "destroy": (_SEE_ALIAS, *_PLAN, *_SEE, *_REMOVE, *_CLEAR, _SEE_REMAINS, _FIND_SECRET),
    "setup": (
        *(*_INFO, *_FIND, _SEE_OPENINGS, _READ_SECRET, _SEE_VERSION, _CHANGE_PASSWORD),
        *(*_SET_UP, _RUN_SCRIPTS, _CANCEL_COMMANDS),
    ),
    "setup.logs": (*_INFO, *_FIND, _SEE_COMMANDS, _RUN_SCRIPTS, _ON_MACHINES),
    "run-tasks": (*_INFO, *_FIND, _FIND_VERSIONS, *_SET_UP, _RUN_SCRIPTS, _CANCEL_COMMANDS),
    "doctor": (_SEE_REGIONS, *_CHECK_LAUNCH),
    "rehearse": (),
}
"""By command, as `invoke` names it. A command that calls nothing in AWS has nothing."""


def needed_by(commands: Iterable[str]) -> tuple[Grant, ...]:
    """What these commands, of `NEEDED`, need together: each grant once."""
    return tuple({grant.name: grant for command in commands for grant in NEEDED[command]}.values())
