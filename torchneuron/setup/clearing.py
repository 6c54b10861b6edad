"""Old command documents of ours, removed: every change of a task file makes a new one, and an account may have 500.

One that is removed too early costs nothing but its making: a run that finds it gone makes it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from torchneuron.aws_errors import calling
from torchneuron.errors import AwsError
from torchneuron.setup.document import NAME_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEPT = timedelta(days=7)
"""Longer than any run: a step may take 48 hours. SSM hands machines a copy when it delivers a command."""


def clear_old_documents(ssm: SSMClient, now: datetime | None = None) -> list[str]:
    """Remove our documents older than `KEPT`; their names. What is not allowed or fails is left for another time."""
    before = (now or datetime.now(timezone.utc)) - KEPT
    removed = []
    try:
        for name in _old(ssm, before):
            with calling("remove an old command document"):
                ssm.delete_document(Name=name)
            removed.append(name)
    except AwsError:
        # Nobody waits for this, and the run it follows has succeeded.
        return removed
    return removed


def _old(ssm: SSMClient, before: datetime) -> list[str]:
    with calling("look for old command documents"):
        pages = ssm.get_paginator("list_documents").paginate(
            Filters=[{"Key": "Owner", "Values": ["Self"]}, {"Key": "tag:ManagedBy", "Values": ["torchneuron"]}]
        )
        return [
            one["Name"]
            for page in pages
            for one in page["DocumentIdentifiers"]
            if one["Name"].startswith(NAME_PREFIX) and one["CreatedDate"] < before
        ]
