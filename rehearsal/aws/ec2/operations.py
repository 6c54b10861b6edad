"""What all EC2 operations of the rehearsal share: dry runs, timestamps, filters, pages, tag limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.aws.ec2.requests import dry_run_error
from rehearsal.errors import AwsError

PAGE_SIZE = 1000
_MAX_TAGS = 50


class EC2Operations(RehearsalResponse, EC2Response):  # type: ignore[misc] # moto has no types
    """Base of the classes that each hold the operations of one concern."""

    refusal = EC2ClientError
    params: dict[str, Any]

    def _dry_run(self) -> None:
        """AwsError when the request is a dry run; called once the request is known to be valid."""
        if self._get_param("DryRun"):
            raise dry_run_error()

    def _timestamp(self, parameter: str) -> datetime | None:
        """A parameter in UTC; moto parses timestamps into UTC and drops the time zone."""
        value: datetime | None = self._get_param(parameter)
        return None if value is None else value.replace(tzinfo=timezone.utc)

    def _filtered(self, items: list[dict[str, Any]], keys: Mapping[str, str]) -> list[dict[str, Any]]:
        """The items that match the request's filters. `keys`: the items' key for each filter."""
        for condition in self._get_param("Filters", []):
            name, values = condition.get("Name", "null"), condition.get("Values", [])
            items = [item for item in items if matches(_filter_value(item, name, keys), values)]
            if not items:
                _filter_value({}, name, keys)
        return items

    def _paged(self, key: str, items: Sequence[dict[str, Any]]) -> ActionResult:
        size = self._get_int_param("MaxResults", PAGE_SIZE)
        shown, token = page(items, size, self._get_param("NextToken"), bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": token})


def check_tags(new: Mapping[str, str | None], existing: Mapping[str, str]) -> None:
    """AwsError when a resource with the existing tags may not get the new ones.

    Source: EC2 user guide, "Tag your Amazon EC2 resources", Tag restrictions; the codes: EC2 API, "Error codes".
    """
    for key in new:
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for "
                "internal use",
            )
    if len([key for key in {*new, *existing} if not key.startswith("aws:")]) > _MAX_TAGS:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")


def _filter_value(item: Mapping[str, Any], name: str, keys: Mapping[str, str]) -> str | list[str]:
    """The value that a filter compares; AwsError for a filter that the operation does not have."""
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    if name.startswith("tag:"):
        tag = tags.get(name.removeprefix("tag:"))
        return [] if tag is None else tag
    if name == "tag-key":
        return list(tags)
    if name not in keys:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    value = item.get(keys[name], "")
    return f"{value:%Y-%m-%dT%H:%M:%S.000Z}" if isinstance(value, datetime) else str(value)
