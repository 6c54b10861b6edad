"""A call to a service, as its authorization sees it: the operation, its parameters, and the permissions it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION
from rehearsal.world import World


@dataclass(frozen=True)
class RequestWithAlternative(Request):
    """A request that is allowed itself, or by all of its alternatives."""

    alternatives: Sequence[Request] = ()


@dataclass(frozen=True)
class ApiCall:
    """`service`: IAM's prefix for it. `parameters`: named as in the operation's API reference."""

    world: World
    service: str
    operation: str
    region: str
    account: str
    parameters: Mapping[str, Any]

    def context(self) -> dict[str, str]:
        """The context keys of every request (IAM user guide, "AWS global condition context keys")."""
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

    def request(
        self, resource: str, context: Mapping[str, str | Sequence[str]] | None = None, *, action: str | None = None
    ) -> Request:
        """The request for an action on a resource; the action defaults to this operation's."""
        return Request(action or f"{self.service}:{self.operation}", resource, context or {})


def resource_tags(tags: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """The context keys of a resource's tags: `aws:ResourceTag`, and the same with a service's own prefixes."""
    return {f"{prefix}/{key}": value for prefix in ("aws:ResourceTag", *prefixes) for key, value in tags.items()}


def request_tags(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str | Sequence[str]]:
    """The context keys of the tags in a request (a list of Key and Value); empty without tags."""
    by_key = {tag["Key"]: tag.get("Value") or "" for tag in tags or [] if tag.get("Key")}
    context: dict[str, str | Sequence[str]] = {f"aws:RequestTag/{key}": value for key, value in by_key.items()}
    return {**context, "aws:TagKeys": list(by_key)} if by_key else {}


def with_tagging(creation: Request, action: str, tags: Sequence[Mapping[str, str]] | None) -> list[Request]:
    """The request that creates a resource and, if it has tags, the request for the service's tagging action."""
    creation = replace(creation, context={**creation.context, **request_tags(tags)})
    return [creation, replace(creation, action=action)] if tags else [creation]
