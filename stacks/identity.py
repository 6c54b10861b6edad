"""What the machine may do in AWS: be managed by Systems Manager, and nothing more."""

from __future__ import annotations

import json

from constructs import Construct

from stacks.provider import IamInstanceProfile, IamRole, IamRolePolicyAttachment
from torchneuron import marks

SESSION_MANAGER_POLICY = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


class MachineIdentity(Construct):
    """The role and its instance profile. `permission` is what must stand before a machine boots with it."""

    def __init__(self, scope: Construct, name: str, *, project: str, region: str) -> None:
        super().__init__(scope, name)
        # IAM is global: the suffix the provider adds keeps regions apart, and the tag tells which is which.
        name_prefix, here = marks.role_prefix(project), {marks.REGION: region}
        role = IamRole(
            self,
            "role",
            name_prefix=name_prefix,
            description="The code-server machine: Session Manager and Run Command, nothing else",
            assume_role_policy=_trust("ec2.amazonaws.com"),
            tags=here,
        )
        role.override_logical_id("machine")
        self.permission = IamRolePolicyAttachment(self, "permission", role=role.name, policy_arn=SESSION_MANAGER_POLICY)
        self.permission.override_logical_id("session_manager")
        profile = IamInstanceProfile(self, "profile", name_prefix=name_prefix, role=role.name, tags=here)
        profile.override_logical_id("machine")
        self.profile_name = profile.name


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
