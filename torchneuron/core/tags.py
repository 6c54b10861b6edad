"""The tags and name prefixes that mark everything this project creates.

The stack sets them; every search that has no Terraform state filters by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

MANAGED = {"ManagedBy": "torchneuron"}
"""On every resource, whatever its project."""
REGION = "Region"
"""The key of the tag that holds the deployment's region, on IAM resources: IAM is global."""
DATA = "torchneuron:volume"
"""The key of the tag that marks a data volume, with the value `data`: root volumes have the project's tags, too."""


def for_project(project: str) -> dict[str, str]:
    """The tags of a project's resources, by key."""
    return {"Project": project, **MANAGED}


def has_tags(tags: Mapping[str, str], aws_tags: Iterable[Mapping[str, Any]]) -> bool:
    """Whether `aws_tags`, a response's list of `Key` and `Value`, contains all of `tags`."""
    return tags.items() <= {tag.get("Key", ""): tag.get("Value", "") for tag in aws_tags}.items()


def to_aws(tags: Mapping[str, str]) -> list[Any]:
    """The tags as a request's list of `Key` and `Value`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def filters(tags: Mapping[str, str]) -> list[FilterTypeDef]:
    """EC2 filters for resources that have all of `tags`."""
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def name_prefix(project: str) -> str:
    """What the names of a project's resources start with."""
    return f"{project}-"


def role_prefix(project: str) -> str:
    """What the names of a project's roles and instance profiles start with.

    IAM allows 64 characters, of which the provider adds the last 26.
    """
    return f"{project[:37]}-"
