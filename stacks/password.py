"""The code-server password: made while Terraform applies, kept in Secrets Manager and nowhere else."""

from __future__ import annotations

from constructs import Construct

from stacks.cdk import TerraformStack
from stacks.provider import SecretsmanagerSecret, SecretsmanagerSecretVersion
from torchneuron.core import tags

LENGTH = 32


class GeneratedPassword(Construct):
    """A secret whose text is the password itself. `secret_arn` is its ARN.

    An ephemeral value goes into a write-only argument, so neither plan nor state ever holds it
    (Terraform 1.11 or newer). Terraform cannot see such a value change: it writes again only when
    the version number beside it does, which is why a second deployment keeps the password.
    """

    def __init__(self, scope: Construct, name: str, *, project: str) -> None:
        super().__init__(scope, name)
        secret = SecretsmanagerSecret(
            self,
            "secret",
            # A fixed name would stay taken after `destroy`.
            name_prefix=tags.name_prefix(project),
            description="code-server password",
            # It opens a machine that is gone once this is deleted: there is nothing to recover.
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
                # Letters and digits survive every shell, form and config file; 32 of them are 190 bits.
                "exclude_punctuation": True,
                "require_each_included_type": True,
            },
        )
        self.secret_arn = secret.arn
