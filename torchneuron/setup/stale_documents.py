"""Command documents that runs left behind: a run deletes its own, unless its laptop dies before its end."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from torchneuron.aws.errors import calling
from torchneuron.core import tags
from torchneuron.setup.document import NAME_PREFIX
from torchneuron.setup.run_command import open_invocations

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import TagTypeDef

UNSENT = timedelta(hours=1)
"""Age up to which a document may still wait for its command. A run whose document is gone creates another."""


def delete_stale_documents(
    ssm: SSMClient, project: str, *, terminated: Collection[str] = (), unsent: timedelta = UNSENT
) -> list[str]:
    """Delete the project's documents that runs left behind, and return their names. Raises AwsError.

    A run deletes its own documents unless its laptop dies. Deleted here are those whose commands have ended, those that
    were not sent for `unsent`, and those without a project tag (of older versions). Invocations on `terminated`
    instances are ignored: they never end.
    """
    before = datetime.now(timezone.utc) - unsent
    documents = _documents(ssm, project)
    in_use = {
        invocation["DocumentName"]
        for invocation in (open_invocations(ssm) if documents else ())
        if invocation["InstanceId"] not in terminated
    }
    deleted = []
    for name, created in documents:
        if name not in in_use and (created < before or _was_sent(ssm, name)):
            with calling("delete a command document"):
                ssm.delete_document(Name=name)
            deleted.append(name)
    return deleted


def _was_sent(ssm: SSMClient, name: str) -> bool:
    with calling("list the commands of a document"):
        return bool(ssm.list_commands(Filters=[{"key": "DocumentName", "value": name}], MaxResults=1)["Commands"])


def _documents(ssm: SSMClient, project: str) -> list[tuple[str, datetime]]:
    with calling("list command documents"):
        pages = ssm.get_paginator("list_documents").paginate(Filters=[{"Key": "Owner", "Values": ["Self"]}])
        found = [document for page in pages for document in page["DocumentIdentifiers"]]
    return [
        (document["Name"], document["CreatedDate"])
        for document in found
        if document["Name"].startswith(NAME_PREFIX) and _belongs_to(project, document.get("Tags", []))
    ]


def _belongs_to(project: str, document_tags: Collection[TagTypeDef]) -> bool:
    has_project = any(tag.get("Key") == "Project" for tag in document_tags)
    return tags.has_tags(tags.for_project(project) if has_project else tags.MANAGED, document_tags)
