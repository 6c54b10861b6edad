"""What every EC2 operation of the rehearsal needs of a request: dry runs, instants, filters, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.aws.ec2.requests import dry_run
from rehearsal.errors import AwsError

PAGE = 1000
_MOST_TAGS = 50


class EC2Operations(RehearsalResponse, EC2Response):  # type: ignore[misc] # moto has no types
    """Mixed in by the classes that each hold the operations of one concern."""

    refusal = EC2ClientError

    def _dry_run(self) -> None:
        if self._get_param("DryRun"):
            raise dry_run()

    def _instant(self, parameter: str) -> datetime | None:
        """moto parses instants into UTC and drops the zone."""
        found: datetime | None = self._get_param(parameter)
        return None if found is None else found.replace(tzinfo=timezone.utc)

    def _filtered(self, found: list[dict[str, Any]], known: Mapping[str, str]) -> list[dict[str, Any]]:
        for each in self._get_param("Filters", []):
            name, values = each.get("Name", "null"), each.get("Values", [])
            found = [one for one in found if matches(_filter_value(one, name, known), values)]
            if not found:
                _filter_value({}, name, known)
        return found

    def _paged(self, key: str, found: Sequence[dict[str, Any]]) -> ActionResult:
        size = self._get_int_param("MaxResults", PAGE)
        shown, token = page(found, size, self._get_param("NextToken"), bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": token})


def check_tags(new: Mapping[str, str | None], there: Mapping[str, str]) -> None:
    """AwsError for tags that a resource with those that are there may not get.

    Source: EC2 user guide, "Tag your Amazon EC2 resources", Tag restrictions; the codes: EC2 API, "Error codes".
    """
    for key in new:
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for "
                "internal use",
            )
    if len([key for key in {*new, *there} if not key.startswith("aws:")]) > _MOST_TAGS:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")


def _filter_value(item: Mapping[str, Any], name: str, known: Mapping[str, str]) -> str | list[str]:
    """What a filter compares; AwsError for a filter the operation doesn't have."""
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    if name.startswith("tag:"):
        tag = tags.get(name.removeprefix("tag:"))
        return [] if tag is None else tag
    if name == "tag-key":
        return list(tags)
    if name not in known:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    value = item.get(known[name], "")
    return f"{value:%Y-%m-%dT%H:%M:%S.000Z}" if isinstance(value, datetime) else str(value)
