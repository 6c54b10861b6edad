"""A call to a service, as its authorization looks at it: operation, parameters, and what is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION
from rehearsal.world import World


@dataclass(frozen=True)
class Either(Request):
    """A request, and those that are checked when it is not allowed."""

    otherwise: Sequence[Request] = ()


@dataclass(frozen=True)
class Call:
    """`service` as IAM calls it, `parameters` as the operation's API reference names them."""

    world: World
    service: str
    operation: str
    region: str
    account: str
    parameters: Mapping[str, Any]

    def context(self) -> dict[str, str]:
        """What any request has (IAM user guide, "AWS global condition context keys")."""
        return {
            "aws:RequestedRegion": self.region,
            "aws:ResourceAccount": self.account,
            "aws:SecureTransport": "true",
            "aws:ViaAWSService": "false",
        }

    def arn(self, resource: str, *, region: str | None = None, account: str | None = None) -> str:
        """An ARN of this service. `region`, `account`: "" for ARNs without one."""
        region = self.region if region is None else region
        account = self.account if account is None else account
        return f"arn:{PARTITION}:{self.service}:{region}:{account}:{resource}"

    def on(
        self, resource: str, context: Mapping[str, str | Sequence[str]] | None = None, *, action: str | None = None
    ) -> Request:
        """The request for this operation's action, or another one, on a resource."""
        return Request(action or f"{self.service}:{self.operation}", resource, context or {})


def resource_tags(tags: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """The context keys for the tags a resource has, as `aws:ResourceTag` and under a service's own prefixes."""
    return {f"{prefix}/{key}": value for prefix in ("aws:ResourceTag", *prefixes) for key, value in tags.items()}


def request_tags(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str | Sequence[str]]:
    """The context keys for the tags that a request gives, as lists of Key and Value; none without tags."""
    by_key = {tag["Key"]: tag.get("Value") or "" for tag in tags or [] if tag.get("Key")}
    made: dict[str, str | Sequence[str]] = {f"aws:RequestTag/{key}": value for key, value in by_key.items()}
    return {**made, "aws:TagKeys": list(by_key)} if by_key else {}


def with_tagging(made: Request, action: str, tags: Sequence[Mapping[str, str]] | None) -> list[Request]:
    """What is checked when something is made: its tags, if it is given any, by the service's action for tagging."""
    given = {**made.context, **request_tags(tags)}
    made = replace(made, context=given)
    return [made, replace(made, action=action)] if tags else [made]
