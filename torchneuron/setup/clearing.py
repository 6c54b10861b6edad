"""Command documents that runs left behind: a run deletes its own at its end, unless its laptop died or was closed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import tags as project_tags
from torchneuron.setup.document import NAME_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import TagTypeDef

UNSENT = timedelta(hours=1)
"""How long a document may wait to be sent: behind the one before it in a long run. A run whose document is gone makes
another."""
_UNDER_WAY = ("Pending", "InProgress")


def delete_documents(
    ssm: SSMClient, project: str, *, gone: Collection[str] = (), unsent: timedelta = UNSENT
) -> list[str]:
    """Delete the project's documents whose commands have ended, or that were not sent for `unsent`; their names.

    Those without a project, of older versions, are deleted too. `gone`: instances that are terminated, whose commands
    stay under way for as long as SSM keeps them. Raises AwsError.
    """
    before = datetime.now(timezone.utc) - unsent
    documents = _documents(ssm, project)
    used = _used(ssm, gone) if documents else set()
    deleted = []
    for name, created in documents:
        if name not in used and (created < before or _was_sent(ssm, name)):
            with calling("delete a command document"):
                ssm.delete_document(Name=name)
            deleted.append(name)
    return deleted


def _was_sent(ssm: SSMClient, name: str) -> bool:
    with calling("look for the commands of a document"):
        return bool(ssm.list_commands(Filters=[{"key": "DocumentName", "value": name}], MaxResults=1)["Commands"])


def _documents(ssm: SSMClient, project: str) -> list[tuple[str, datetime]]:
    with calling("look for command documents"):
        pages = ssm.get_paginator("list_documents").paginate(Filters=[{"Key": "Owner", "Values": ["Self"]}])
        found = [document for page in pages for document in page["DocumentIdentifiers"]]
    return [
        (document["Name"], document["CreatedDate"])
        for document in found
        if document["Name"].startswith(NAME_PREFIX) and _is_of(project, document.get("Tags", []))
    ]


def _is_of(project: str, tags: Collection[TagTypeDef]) -> bool:
    has_project = any(tag.get("Key") == "Project" for tag in tags)
    return project_tags.has_tags(project_tags.for_project(project) if has_project else project_tags.MANAGED, tags)


def _used(ssm: SSMClient, gone: Collection[str]) -> set[str]:
    with calling("look for commands under way"):
        pages = [
            page
            for status in _UNDER_WAY
            for page in ssm.get_paginator("list_command_invocations").paginate(
                Filters=[{"key": "Status", "value": status}]
            )
        ]
    return {
        invocation["DocumentName"]
        for page in pages
        for invocation in page["CommandInvocations"]
        if invocation["InstanceId"] not in gone
    }
