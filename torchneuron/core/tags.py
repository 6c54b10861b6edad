"""How everything this project makes is marked as its own: the tags, and what names begin with.

The stack sets them, and every look for something without a state at hand goes by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

MANAGED = {"ManagedBy": "torchneuron"}
"""On everything, of whatever project."""
REGION = "Region"
"""Tells by its value which region's deployment has something that IAM keeps for all regions."""
DATA = "torchneuron:volume"
"""Tells a data volume, by the value `data`, from the root volumes that have the project's tags as well."""


def of(project: str) -> dict[str, str]:
    """The tags of what belongs to a project, by key."""
    return {"Project": project, **MANAGED}


def are_in(tags: Mapping[str, str], listed: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all of `tags` are among those that an answer lists, as `Key` and `Value`."""
    return tags.items() <= {tag.get("Key", ""): tag.get("Value", "") for tag in listed}.items()


def listed(tags: Mapping[str, str]) -> list[Any]:
    """The tags as requests to any service list them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def filters(tags: Mapping[str, str]) -> list[FilterTypeDef]:
    """EC2's filters for what has all of `tags`."""
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def name_prefix(project: str) -> str:
    """What the names of a project's things begin with."""
    return f"{project}-"


def role_prefix(project: str) -> str:
    """What names of roles and instance profiles begin with: of their 64 characters the provider adds the last 26."""
    return f"{project[:37]}-"
