"""The AWS account in use, the caller, and the source of the credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.errors import AwsError

# Sources that a profile configures, by botocore's name (botocore.credentials, METHOD).
_PROFILE_SOURCES = {
    "assume-role": "assumed role",
    "config-file": "keys in the config file",
    "custom-process": "credential process",
    "login": "aws login",
    "shared-credentials-file": "keys in the credentials file",
    "sso": "SSO",
}
_OTHER_SOURCES = {
    "assume-role-with-web-identity": "web identity token",
    "container-role": "container role",
    "iam-role": "instance role",
}


@dataclass(frozen=True)
class Account:
    """An AWS account and the caller. `alias` is empty when there is none or it cannot be read."""

    id: str
    alias: str
    caller: str
    credentials: str

    @property
    def name(self) -> str:
        return f"{self.id} ({self.alias})" if self.alias else self.id

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values to show before money is spent."""
        return [("Account", self.name), ("Caller", self.caller), ("Credentials", self.credentials)]


def current(aws: Aws) -> Account:
    """The account of the credentials in use. Raises AccessError when AWS does not accept them."""
    with calling("sign in to AWS"):
        identity = aws.sts().get_caller_identity()
    return Account(identity["Account"], _alias(aws), identity["Arn"], source(*aws.credentials(), os.environ))


def announce(aws: Aws) -> Account:
    """Print the current account before anything is changed in it."""
    account = current(aws)
    display.note(f"Account {account.name}, as {account.caller}; credentials: {account.credentials}.")
    return account


def source(method: str, profile: str, environment: Mapping[str, str]) -> str:
    """The source of the credentials. `method` is botocore's name for it, `profile` the profile in use."""
    if method == "env":
        # Keys in the environment take precedence over AWS_PROFILE (botocore.credentials.create_credential_resolver).
        names = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if environment.get(name)]
        unused = f"; {names[0]}={environment[names[0]]} is not used" if names else ""
        return f"keys in the environment{unused}"
    if method in _PROFILE_SOURCES:
        return f"profile {profile} ({_PROFILE_SOURCES[method]})"
    return _OTHER_SOURCES.get(method, method or "unknown")


def _alias(aws: Aws) -> str:
    try:
        with calling("read the account's alias"):
            aliases = aws.brief().iam().list_account_aliases()["AccountAliases"]
    except AwsError:
        return ""
    return str(aliases[0]) if aliases else ""
