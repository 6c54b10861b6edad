"""IAM users and role sessions in a rehearsal, for tests of what policies allow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


def allow(actions: str | list[str], resource: str | list[str] = "*", **condition: Mapping[str, Any]) -> dict[str, Any]:
    """A statement that allows actions on a resource, under conditions by operator."""
    made: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return {**made, "Condition": condition} if condition else made


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_user(iam: Any, name: str, *policies: str) -> dict[str, str]:
    """A new IAM user with inline policies; the environment variables of its access key."""
    iam.create_user(UserName=name)
    for number, policy in enumerate(policies):
        iam.put_user_policy(UserName=name, PolicyName=f"policy-{number}", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def clients_of(endpoint: str, credentials: Mapping[str, str], region: str) -> Callable[[str], Any]:
    """boto3 clients of whoever has these credentials, by service. They never retry."""
    session: Any = boto3.session.Session(
        credentials["AWS_ACCESS_KEY_ID"],
        credentials["AWS_SECRET_ACCESS_KEY"],
        credentials.get("AWS_SESSION_TOKEN"),
        region_name=region,
    )
    config = Config(retries={"total_max_attempts": 1})
    return lambda service: session.client(service, endpoint_url=endpoint, config=config)


@contextmanager
def denied(code: str = "AccessDenied", *words: str) -> Iterator[None]:
    """Whether a request is refused with this code, and a message that has these words."""
    with pytest.raises(ClientError) as raised:
        yield
    error = raised.value.response["Error"]
    assert error["Code"] == code, error
    assert all(word in error["Message"] for word in words), error


def user_with(iam: Any, name: str, policies: str) -> dict[str, str]:
    """A new IAM user whose policies are those that `invoke doctor --policy` printed, and nothing else."""
    credentials = make_user(iam, name)
    for number, policy in enumerate(documents_in(policies)):
        made = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=json.dumps(policy))
        iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
    return credentials


def documents_in(text: str) -> list[dict[str, Any]]:
    """JSON documents that stand one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found
