"""Whose account a command is about to spend or change something in, who asks, and by which credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from torchneuron.aws.errors import calling
from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.errors import AwsError

# What botocore calls the ways it finds credentials (botocore.credentials, METHOD), where a profile names them.
_OF_A_PROFILE = {
    "assume-role": "assumed role",
    "config-file": "keys in the config file",
    "custom-process": "credential process",
    "login": "aws login",
    "shared-credentials-file": "keys in the credentials file",
    "sso": "SSO",
}
_OTHERS = {
    "assume-role-with-web-identity": "web identity token",
    "container-role": "container role",
    "iam-role": "instance role",
}


@dataclass(frozen=True)
class Account:
    """An AWS account and its caller. `alias` is empty where there is none, or it may not be read."""

    id: str
    alias: str
    caller: str
    credentials: str

    @property
    def name(self) -> str:
        return f"{self.id} ({self.alias})" if self.alias else self.id

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Rows for a question that spends money there."""
        return [("Account", self.name), ("Caller", self.caller), ("Credentials", self.credentials)]


def look(aws: Aws) -> Account:
    """The account behind the credentials, whose alias is optional. Raises AccessError for credentials of no use."""
    with calling("sign in to AWS"):
        identity = aws.sts().get_caller_identity()
    return Account(identity["Account"], _alias(aws), identity["Arn"], source(*aws.credentials(), os.environ))


def announce(aws: Aws) -> Account:
    """`look`, and say what was found before anything is changed there."""
    account = look(aws)
    display.note(f"Account {account.name}, as {account.caller}; credentials: {account.credentials}.")
    return account


def source(method: str, profile: str, environment: Mapping[str, str]) -> str:
    """Where credentials come from, in words. `method` is botocore's name for it, `profile` the one in use."""
    if method == "env":
        # Keys in the environment win over AWS_PROFILE (botocore.credentials.create_credential_resolver).
        names = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if environment.get(name)]
        unused = f"; {names[0]}={environment[names[0]]} is not used" if names else ""
        return f"keys in the environment{unused}"
    if method in _OF_A_PROFILE:
        return f"profile {profile} ({_OF_A_PROFILE[method]})"
    return _OTHERS.get(method, method or "unknown")


def _alias(aws: Aws) -> str:
    try:
        with calling("read the account's alias"):
            aliases = aws.brief().iam().list_account_aliases()["AccountAliases"]
    except AwsError:
        return ""
    return str(aliases[0]) if aliases else ""
