"""The code-server password, generated during apply and stored in Secrets Manager only."""

from __future__ import annotations

from constructs import Construct

from stacks.cdk import TerraformStack
from stacks.provider import SecretsmanagerSecret, SecretsmanagerSecretVersion
from torchneuron.core import tags

LENGTH = 32


class GeneratedPassword(Construct):
    """A secret that contains the password as text.

    The value is ephemeral and its argument write-only (Terraform 1.11), so it is in neither plan nor state. Terraform
    writes it again only when `secret_string_wo_version` changes, so later deployments keep the password.
    """

    def __init__(self, scope: Construct, name: str, *, project: str) -> None:
        super().__init__(scope, name)
        secret = SecretsmanagerSecret(
            self,
            "secret",
            # A prefix: Secrets Manager does not release a name immediately.
            name_prefix=tags.name_prefix(project),
            description="code-server password",
            # The password is of no use once the machine is destroyed.
            recovery_window_in_days=0,
        )
        secret.override_logical_id("code_server")
        version = SecretsmanagerSecretVersion(
            self,
            "version",
            secret_id=secret.id,
            secret_string_wo="${ephemeral.aws_secretsmanager_random_password.code_server.random_password}",
            secret_string_wo_version=1,
        )
        version.override_logical_id("code_server")
        # cdktf 0.21 has no ephemeral blocks.
        TerraformStack.of(self).add_override(
            "ephemeral.aws_secretsmanager_random_password.code_server",
            {
                "password_length": LENGTH,
                # Letters and digits need no quoting anywhere; 32 of them have 190 bits of entropy.
                "exclude_punctuation": True,
                "require_each_included_type": True,
            },
        )
        self.secret_arn = secret.arn
