"""IAM users and their policies in a rehearsal, for tests of permissions."""

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
    """A statement that allows actions on a resource. `condition`: conditions by operator."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_user(iam: Any, name: str, *policies: str) -> dict[str, str]:
    """Create an IAM user with inline policies; returns its access key as environment variables."""
    iam.create_user(UserName=name)
    for number, policy in enumerate(policies):
        iam.put_user_policy(UserName=name, PolicyName=f"policy-{number}", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def clients_of(endpoint: str, credentials: Mapping[str, str], region: str) -> Callable[[str], Any]:
    """A function that makes boto3 clients with these credentials, by service. They do not retry."""
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
    """Assert that a request fails with this code and a message that contains these words."""
    with pytest.raises(ClientError) as raised:
        yield
    error = raised.value.response["Error"]
    assert error["Code"] == code, error
    assert all(word in error["Message"] for word in words), error


def user_with(iam: Any, name: str, policies: str) -> dict[str, str]:
    """Create an IAM user with only the policies that `invoke doctor --policy` printed; returns its access key."""
    credentials = make_user(iam, name)
    for number, policy in enumerate(documents_in(policies)):
        created = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=json.dumps(policy))
        iam.attach_user_policy(UserName=name, PolicyArn=created["Policy"]["Arn"])
    return credentials


def documents_in(text: str) -> list[dict[str, Any]]:
    """The JSON documents in a text."""
    documents, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:]
    return documents
