"""The password of code-server: where it comes from, the secret that keeps it, and how the machines get it.

The machine hashes it with a random salt. Neither the password nor a hash of it is part of a document, a command or a
state file: code-server accepts the hash as a login.
"""

from __future__ import annotations

import getpass
import secrets
import string
import sys
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.errors import InputError
from torchneuron.setup.references import GIVEN, SECRET, Reference
from torchneuron.setup.secret_values import SecretValues, current_version, version_labels

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MIN_LENGTH = 12
_ALPHABET = string.ascii_letters + string.digits + "-_.!@%+="
# The staging label of the version that Terraform created, and the prefix of its id: the provider's token.
_TERRAFORM_LABEL, _TERRAFORM_PREFIX = "TERRAFORM", "terraform-"


@dataclass(frozen=True)
class StoredPassword:
    """A password in Secrets Manager and the id of its version."""

    text: str = field(repr=False)
    version: str


@dataclass(frozen=True)
class PasswordSource:
    """At most one source of the password; none for the deployment's own secret.

    `password` is the password, or True to prompt for it.
    """

    secret_arn: str = ""
    password: str | bool = field(default="", repr=False)
    random: bool = False

    @property
    def is_new(self) -> bool:
        """Whether the password is not in a secret yet."""
        return bool(self.password or self.random)

    @property
    def is_given(self) -> bool:
        """Whether the source is not the deployment's own secret."""
        return bool(self.secret_arn or self.is_new)

    def check(self) -> None:
        """Raises InputError for more than one source."""
        if sum(map(bool, (self.secret_arn, self.password, self.random))) > 1:
            raise InputError("Give only one of --secret-arn, --password and --random-password.")


def check_strength(password: str) -> None:
    """Raises InputError for a password that is short, repetitive or cannot be typed."""
    if len(password) < MIN_LENGTH or len(set(password)) < MIN_LENGTH // 2:
        raise InputError(
            "The password is too weak.",
            why=f"It needs {MIN_LENGTH} characters, {MIN_LENGTH // 2} of them different.",
            do="Choose a longer one, or use --random-password.",
        )
    if not password.isprintable():
        raise InputError("The password has characters that cannot be typed.")


def random_password() -> str:
    """A password of 24 characters, some 149 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(24))


def read_secret(client: SecretsManagerClient, secret: str) -> StoredPassword:
    """The password in a secret, given by ARN or name. Raises AwsError, InputError."""
    _check_named(secret)
    with calling("read the password from Secrets Manager"):
        value = client.get_secret_value(SecretId=secret)
    if not value.get("SecretString"):
        raise InputError(f"The secret {secret} holds no text.", do="Store the password in it as plain text.")
    return StoredPassword(value["SecretString"], value["VersionId"])


def store(client: SecretsManagerClient, secret: str, password: str) -> str:
    """Set the secret's value and return its version id. Raises AwsError; InputError for a weak password.

    The version that Terraform created gets a label: Secrets Manager may delete versions without one, and then Terraform
    would replace the password (Secrets Manager user guide, "What's in a Secrets Manager secret?").
    """
    check_strength(password)
    _check_named(secret)
    with calling("write the password to Secrets Manager"):
        written = client.put_secret_value(SecretId=secret, SecretString=password, ClientRequestToken=str(uuid.uuid4()))
    versions = version_labels(client, secret)
    created = next((version for version in versions if version.startswith(_TERRAFORM_PREFIX)), None)
    if created is not None and _TERRAFORM_LABEL not in versions[created]:
        with calling("label the password that Terraform created"):
            client.update_secret_version_stage(SecretId=secret, VersionStage=_TERRAFORM_LABEL, MoveToVersionId=created)
    return written["VersionId"]


def stored(aws: Aws, secret: str) -> Reference:
    """Reference to the current version of a secret that the machines can read. Raises AwsError, InputError."""
    _check_named(secret)
    return Reference(SECRET, secret, current_version(aws.secrets(), secret))


def prepare(
    source: PasswordSource, secret: str, aws: Aws, *, own: bool, dry_run: bool
) -> tuple[Reference, SecretValues | None]:
    """Where the machines get the password from, and what has to be delivered to them for that.

    Machines of the deployment (`own`) read its `secret`, to which a new password is written first. To other machines,
    and from other secrets, the password is delivered.
    """
    if source.secret_arn not in ("", secret) or not own:
        if source.is_new:
            text, run = _new_password(source, is_shown=True, dry_run=dry_run), uuid.uuid4().hex
        else:
            found = read_secret(aws.secrets(), source.secret_arn or secret)
            text, run = found.text, found.version
        check_strength(text)
        return Reference(GIVEN, run), SecretValues(run, {"PASSWORD": text})
    if source.is_new and dry_run:
        display.note("The dry run writes no password; it shows what would run with a new one.")
        return Reference(SECRET, secret), None
    if source.is_new:
        version = store(aws.secrets(), secret, _new_password(source, is_shown=False, dry_run=False))
        display.note(f"The deployment's secret holds the new password. To print it: invoke password -r {aws.region}")
        return Reference(SECRET, secret, version), None
    return stored(aws, secret), None


def _new_password(source: PasswordSource, *, is_shown: bool, dry_run: bool) -> str:
    if source.random:
        text = random_password()
        if dry_run:
            display.note("The dry run creates no password; it shows what would run with a new one.")
        elif is_shown:
            display.note(f"Password (shown only once): {text}")
        return text
    if source.password is True:
        return _prompt()
    display.warn("other users of this machine can see a password on the command line, and the shell keeps it.")
    return str(source.password)


def _prompt() -> str:
    if not sys.stdin.isatty():
        raise InputError("Not a terminal: cannot prompt for the password.", do="Use --secret-arn.")
    password = getpass.getpass("Password for code-server: ")
    if getpass.getpass("Repeat the password: ") != password:
        raise InputError("The two passwords differ.")
    return password


def _check_named(secret: str) -> None:
    if not secret:
        raise InputError("The deployment has no password secret.", do="Name one: invoke setup --secret-arn ARN.")
