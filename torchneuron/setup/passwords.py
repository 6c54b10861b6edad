"""The password of code-server: where it comes from, and the secret that keeps it.

It is hashed on the machine, with a random salt. Neither it nor a hash of it is part of a document, a command or a
state: code-server's hash is a login.
"""

from __future__ import annotations

import secrets
import string
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIN_LENGTH = 12
_ALPHABET = string.ascii_letters + string.digits + "-_.!@%+="
_CURRENT = "AWSCURRENT"
_TERRAFORMS, _MADE_BY_TERRAFORM = "TERRAFORM", "terraform-"
"""The staging label of the version that Terraform made, and how its id begins: with what the provider's tokens do."""


@dataclass(frozen=True)
class Stored:
    """A password in Secrets Manager, and the version that holds it."""

    text: str = field(repr=False)
    version: str


def check_strength(password: str) -> None:
    """Raises InputError for a password that is short, or made of very few different characters."""
    if len(password) < MIN_LENGTH or len(set(password)) < MIN_LENGTH // 2:
        raise InputError(
            "The password is too weak.",
            why=f"It needs {MIN_LENGTH} characters, {MIN_LENGTH // 2} of them different.",
            do="Give a longer one, or --random-password.",
        )
    if not password.isprintable():
        raise InputError("The password has characters that cannot be typed.")


def random_password() -> str:
    """A password of 24 characters, some 149 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(24))


def read_secret(client: SecretsManagerClient, secret: str) -> Stored:
    """The password in Secrets Manager under `secret` (an ARN or a name). Raises AwsError, InputError."""
    _check_named(secret)
    with calling("read the password from Secrets Manager"):
        value = client.get_secret_value(SecretId=secret)
    if not value.get("SecretString"):
        raise InputError(f"The secret {secret} holds no text.", do="Store the password in it as plain text.")
    return Stored(value["SecretString"], value["VersionId"])


def current_version(client: SecretsManagerClient, secret: str) -> str:
    """The id of the version that is in force, which is no secret. Raises AwsError, InputError when there is none."""
    _check_named(secret)
    version = next((one for one, labels in _versions(client, secret).items() if _CURRENT in labels), None)
    if version is None:
        raise InputError(f"The secret {secret} has no value.", do="Store the password in it as plain text.")
    return version


def store(client: SecretsManagerClient, secret: str, password: str) -> str:
    """Make `password` the secret's value; its version. Raises AwsError, InputError for one that is too weak.

    Secrets Manager may delete versions without a label, and Terraform would put a new password in the place of its own:
    that one gets a label (Secrets Manager user guide, "What's in a Secrets Manager secret?").
    """
    check_strength(password)
    _check_named(secret)
    with calling("write the password to Secrets Manager"):
        written = client.put_secret_value(SecretId=secret, SecretString=password, ClientRequestToken=str(uuid.uuid4()))
    versions = _versions(client, secret)
    made = next((one for one in versions if one.startswith(_MADE_BY_TERRAFORM)), None)
    if made is not None and _TERRAFORMS not in versions[made]:
        with calling("label the password that Terraform made"):
            client.update_secret_version_stage(SecretId=secret, VersionStage=_TERRAFORMS, MoveToVersionId=made)
    return written["VersionId"]


def _versions(client: SecretsManagerClient, secret: str) -> dict[str, list[str]]:
    with calling("look at the password's secret"):
        return client.describe_secret(SecretId=secret).get("VersionIdsToStages", {})


def _check_named(secret: str) -> None:
    if not secret:
        raise InputError("The deployment's secret was not found.", do="Name it: invoke setup --secret-arn ARN.")
