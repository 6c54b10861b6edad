"""Commands, invocations and steps in the shapes of SSM's answers (botocore's service model for SSM)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rehearsal.aws.ssm.agent import STDERR_KEPT, STDOUT_KEPT, StepRecord, cut
from rehearsal.aws.ssm.invocations import DELIVERY_TIMED_OUT, Command, Invocation, Seen, aggregated


def shown_command(command: Command, seen: Sequence[Seen]) -> dict[str, Any]:
    """As ListCommands and SendCommand show it, when its invocations look like this."""
    request = command.request
    status, details = aggregated(command, seen)
    return {
        "CommandId": command.command_id,
        "DocumentName": request.document_name,
        "DocumentVersion": request.document_version,
        "Comment": request.comment,
        "ExpiresAfter": command.expires,
        "Parameters": request.parameters,
        "InstanceIds": [] if request.targets else list(request.instance_ids),
        "Targets": request.targets,
        "RequestedDateTime": command.requested,
        "Status": status,
        "StatusDetails": details,
        "OutputS3BucketName": "",
        "OutputS3KeyPrefix": "",
        "MaxConcurrency": request.max_concurrency,
        "MaxErrors": request.max_errors,
        "TargetCount": len(command.invocations),
        "CompletedCount": sum(one.ended for one in seen),
        "ErrorCount": sum(one.is_error for one in seen),
        "DeliveryTimedOutCount": sum(one.details == DELIVERY_TIMED_OUT for one in seen),
        "TimeoutSeconds": request.timeout,
    }


def shown_invocation(command: Command, invocation: Invocation, seen: Seen, *, details: bool) -> dict[str, Any]:
    """As ListCommandInvocations shows it, with its steps when `details`."""
    return {
        "CommandId": command.command_id,
        "InstanceId": invocation.instance_id,
        "InstanceName": "",
        "Comment": command.request.comment,
        "DocumentName": command.request.document_name,
        "DocumentVersion": command.request.document_version,
        "RequestedDateTime": invocation.requested,
        "Status": seen.status,
        "StatusDetails": seen.details,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": [_plugin(one) for one in seen.records] if details else [],
    }


def _plugin(record: StepRecord) -> dict[str, Any]:
    return {
        "Name": record.name,
        "Status": record.shown_status,
        "StatusDetails": _details(record),
        "ResponseCode": record.code,
        "ResponseStartDateTime": record.started,
        "ResponseFinishDateTime": record.ended,
        "Output": record.output if record.ended else "",
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
    }


def shown_step(command: Command, instance_id: str, record: StepRecord) -> dict[str, Any]:
    """As GetCommandInvocation shows it."""
    elapsed = (record.ended - record.started).total_seconds() if record.started and record.ended else None
    return {
        "CommandId": command.command_id,
        "InstanceId": instance_id,
        "Comment": command.request.comment,
        "DocumentName": command.request.document_name,
        "DocumentVersion": command.request.document_version,
        "PluginName": record.name,
        "ResponseCode": record.code,
        "ExecutionStartDateTime": _iso(record.started),
        "ExecutionElapsedTime": "" if elapsed is None else f"PT{elapsed:.3f}S",
        "ExecutionEndDateTime": _iso(record.ended),
        "Status": record.shown_status,
        "StatusDetails": _details(record),
        "StandardOutputContent": cut(record.stdout, STDOUT_KEPT) if record.ended else "",
        "StandardOutputUrl": "",
        "StandardErrorContent": cut(record.stderr, STDERR_KEPT) if record.ended else "",
        "StandardErrorUrl": "",
    }


def _details(record: StepRecord) -> str:
    if record.details:
        return record.details
    return "ExecutionTimedOut" if record.status == "TimedOut" else record.shown_status


def _iso(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"
