"""Commands, invocations and steps in SSM's shapes (botocore's service model for SSM)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rehearsal.aws.ssm.agent import MAX_STDERR, MAX_STDOUT, StepRecord, truncate
from rehearsal.aws.ssm.invocations import DELIVERY_TIMED_OUT, Command, Invocation, InvocationState, command_status


def command_shape(command: Command, states: Sequence[InvocationState]) -> dict[str, Any]:
    """A command in ListCommands and SendCommand. `states`: those of its invocations."""
    request = command.request
    status, details = command_status(command, states)
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
        "CompletedCount": sum(state.ended for state in states),
        "ErrorCount": sum(state.is_error for state in states),
        "DeliveryTimedOutCount": sum(state.details == DELIVERY_TIMED_OUT for state in states),
        "TimeoutSeconds": request.timeout,
    }


def invocation_shape(
    command: Command, invocation: Invocation, state: InvocationState, *, details: bool
) -> dict[str, Any]:
    """An invocation in ListCommandInvocations, with its steps when `details`."""
    return {
        "CommandId": command.command_id,
        "InstanceId": invocation.instance_id,
        "InstanceName": "",
        "Comment": command.request.comment,
        "DocumentName": command.request.document_name,
        "DocumentVersion": command.request.document_version,
        "RequestedDateTime": invocation.requested,
        "Status": state.status,
        "StatusDetails": state.details,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": [_plugin(record) for record in state.records] if details else [],
    }


def _plugin(record: StepRecord) -> dict[str, Any]:
    return {
        "Name": record.name,
        "Status": record.api_status,
        "StatusDetails": _details(record),
        "ResponseCode": record.code,
        "ResponseStartDateTime": record.started,
        "ResponseFinishDateTime": record.ended,
        "Output": record.output if record.ended else "",
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
    }


def step_shape(command: Command, instance_id: str, record: StepRecord) -> dict[str, Any]:
    """A step in GetCommandInvocation."""
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
        "Status": record.api_status,
        "StatusDetails": _details(record),
        "StandardOutputContent": truncate(record.stdout, MAX_STDOUT) if record.ended else "",
        "StandardOutputUrl": "",
        "StandardErrorContent": truncate(record.stderr, MAX_STDERR) if record.ended else "",
        "StandardErrorUrl": "",
    }


def _details(record: StepRecord) -> str:
    if record.details:
        return record.details
    return "ExecutionTimedOut" if record.status == "TimedOut" else record.api_status


def _iso(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
