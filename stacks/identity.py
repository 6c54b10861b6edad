"""The machine's IAM role: it can be managed by Systems Manager and read its own secret."""

from __future__ import annotations

import json

from constructs import Construct

from stacks.provider import IamInstanceProfile, IamRole, IamRolePolicy
from torchneuron.core import tags

# The actions that the SSM agent needs for registration, Run Command and Session Manager (Systems Manager user guide,
# "Reference: ec2messages, ssmmessages, and other API operations"). AmazonSSMManagedInstanceCore also grants read
# access to every parameter and document of the account.
AGENT_ACTIONS = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


class MachineIdentity(Construct):
    """The role and its instance profile. A machine needs `permission` when it boots."""

    def __init__(self, scope: Construct, name: str, *, project: str, region: str, secret_arn: str) -> None:
        super().__init__(scope, name)
        # IAM is global. The suffix added by the provider keeps names unique, and the tag identifies the region.
        name_prefix, region_tag = tags.role_prefix(project), {tags.REGION: region}
        role = IamRole(
            self,
            "role",
            name_prefix=name_prefix,
            description="The code-server machine: Session Manager, Run Command and its own secret, nothing else",
            assume_role_policy=_trust("ec2.amazonaws.com"),
            tags=region_tag,
        )
        role.override_logical_id("machine")
        self.permission = IamRolePolicy(
            self, "permission", name="machine", role=role.name, policy=_permissions(secret_arn)
        )
        self.permission.override_logical_id("machine")
        profile = IamInstanceProfile(self, "profile", name_prefix=name_prefix, role=role.name, tags=region_tag)
        profile.override_logical_id("machine")
        self.profile_name = profile.name


def _permissions(secret_arn: str) -> str:
    agent = {"Effect": "Allow", "Action": list(AGENT_ACTIONS), "Resource": "*"}
    secret = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret_arn}
    return json.dumps({"Version": "2012-10-17", "Statement": [agent, secret]})


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
