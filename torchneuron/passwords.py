"""Passwords: where they come from, and the only two forms in which they leave this machine.

The hashes' salts are made from where the password is from: its secret, or the account and region. The same password
from the same place then renders the same scripts, on every machine of a fleet and from every laptop, which is what lets
the runner see that a finished task is unchanged. A salt has to be unique, not secret; machines that share a password
share its hash.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import argon2.low_level
from passlib.hash import sha512_crypt

from torchneuron.aws_errors import calling
from torchneuron.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sts import STSClient

MIN_LENGTH = 12
_ALPHABET = string.ascii_letters + string.digits + "-_.!@%+="


@dataclass(frozen=True)
class Hashes:
    """`code_server`: argon2id, as code-server's hashed-password takes it. `account`: SHA-512 crypt."""

    code_server: str
    account: str


@dataclass(frozen=True)
class Password:
    """A password and where it is from: the ARN of its secret, or the account and region it is typed for."""

    text: str = field(repr=False)
    origin: str


def hash_password(password: Password) -> Hashes:
    """Both hashes of `password`. Raises InputError for one that is too weak."""
    check_strength(password.text)
    salt = hashlib.sha256(f"torchneuron {password.origin}".encode()).digest()
    encoded = argon2.low_level.hash_secret(
        password.text.encode(),
        salt[:16],
        time_cost=3,
        memory_cost=65536,
        parallelism=4,
        hash_len=32,
        type=argon2.low_level.Type.ID,
    )
    account = sha512_crypt.using(salt=salt.hex()[:16], rounds=100_000).hash(password.text)
    return Hashes(code_server=encoded.decode(), account=account)


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


def read_secret(client: SecretsManagerClient, secret: str) -> Password:
    """The password in Secrets Manager under `secret` (an ARN or a name). Raises AwsError, InputError."""
    if not secret:
        raise InputError("The deployment's secret was not found.", do="Name it: invoke setup --secret-arn ARN.")
    with calling("read the password from Secrets Manager"):
        value = client.get_secret_value(SecretId=secret)
    if not value.get("SecretString"):
        raise InputError(f"The secret {secret} holds no text.", do="Store the password in it as plain text.")
    return Password(value["SecretString"], value["ARN"])


def typed_for(sts: STSClient, text: str, region: str) -> Password:
    """A password that is in no secret."""
    with calling("ask which account this is"):
        account = sts.get_caller_identity()["Account"]
    return Password(text, f"{account} {region}")
