"""Run Command's operations.

Sources
-------
- Targets: an instance must meet all criteria, five values per tag: Systems Manager user guide, "Run commands at scale";
  that more values are a ValidationException is assumed. Keys: SSM API reference, Target.
- Exactly one of InstanceIds and Targets is required: SSM API reference, SendCommand; texts assumed.
- InvalidInstanceId, DuplicateInstanceId, InvalidFilterKey, InvalidPluginName, InvocationDoesNotExist: SSM API
  reference, by operation. A registered instance whose agent is unreachable accepts commands, which wait (user guide,
  "Understanding command statuses"), although the API reference lists "SSM Agent isn't running" under
  InvalidInstanceId. That CancelCommand returns this for an instance that the command was not sent to is assumed.
- InvokedAfter and InvokedBefore are timestamps: SSM API reference, CommandFilter; the error for other values, and that
  a timestamp without a time zone is UTC, are assumed.
- DocumentHash is the hash of the document's content, and this is the error for another: aws-samples,
  aws-security-reference-architecture-examples 301. That the default type is Sha256 is assumed.
- Lists are empty for an unknown command, although the API reference lists InvalidCommandId among their errors: aws-cli
  3546, aws-sdk 190 (for invocations; assumed for commands).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult, EmptyResult

from rehearsal.answers import page
from rehearsal.aws.ssm import documents
from rehearsal.aws.ssm.agent import StepRecord
from rehearsal.aws.ssm.command_shapes import command_shape, invocation_shape, step_shape
from rehearsal.aws.ssm.invocations import ENDED, Command, Request, command_status
from rehearsal.aws.ssm.managed_instances import PAGE_SIZE, InstanceResponse, matches_filter
from rehearsal.errors import AwsError

_MAX_TAG_VALUES = 5
_TIME_FILTERS = {"InvokedAfter", "InvokedBefore"}
_FILTERS = (*sorted(_TIME_FILTERS), "Status", "DocumentName")


class CommandResponse(InstanceResponse):
    """Run Command's operations; moto dispatches by method name."""

    def send_command(self) -> ActionResult:
        instance_ids = self._targeted_instances()
        name, version = self._get_param("DocumentName"), self._get_param("DocumentVersion") or "$DEFAULT"
        document = self.ssm_backend._get_documents(name).find(None if version == "$DEFAULT" else version)
        _check_hash(self._get_param("DocumentHash"), self._get_param("DocumentHashType"), document)
        if document.document_type != "Command":
            raise AwsError("InvalidDocument", f"Document {name} is not a Command document.")
        parameters = self._get_param("Parameters") or {}
        documents.check_size(document.content, parameters)
        content = documents.parse(document.content, document.document_format)
        command = self.world.commands.send(
            Request(
                region=self.region,
                document_name=name,
                document_version=version,
                steps=documents.steps_of(content, parameters, self._stored_value),
                instance_ids=instance_ids,
                parameters=parameters,
                targets=self._get_param("Targets") or [],
                comment=self._get_param("Comment") or "",
                timeout=self._get_int_param("TimeoutSeconds", 3600),
                max_concurrency=self._get_param("MaxConcurrency") or "50",
                max_errors=self._get_param("MaxErrors") or "0",
            )
        )
        return ActionResult({"Command": command_shape(command, self.world.commands.visible_states(command))})

    def list_commands(self) -> ActionResult:
        instance_id = self._get_param("InstanceId")
        filters = self._command_filters(*_FILTERS, "ExecutionStage")
        shapes = []
        for command in self._commands():
            states = self.world.commands.visible_states(command)
            is_on_instance = not instance_id or instance_id in command.request.instance_ids
            status = command_status(command, states)
            if is_on_instance and _matches_filters(command, status, command.requested, filters):
                shapes.append(command_shape(command, states))
        return self._page_of("Commands", shapes)

    def list_command_invocations(self) -> ActionResult:
        instance_id, details = self._get_param("InstanceId"), bool(self._get_param("Details"))
        filters = self._command_filters(*_FILTERS)
        shapes = [
            invocation_shape(command, invocation, state, details=details)
            for command in self._commands()
            for invocation, state in self.world.commands.visible_invocations(command)
            if (not instance_id or invocation.instance_id == instance_id)
            and _matches_filters(command, (state.status, state.details), invocation.requested, filters)
        ]
        return self._page_of("CommandInvocations", shapes)

    def get_command_invocation(self) -> ActionResult:
        command_id, instance_id = self._get_param("CommandId"), self._get_param("InstanceId")
        missing = AwsError("InvocationDoesNotExist", f"No invocation of {command_id} on {instance_id}.")
        try:
            command = self.world.commands.command(self.region, command_id)
        except AwsError as error:
            raise missing from error
        invocations = self.world.commands.visible_invocations(command)
        states = {invocation.instance_id: state for invocation, state in invocations}
        if instance_id not in states:
            raise missing
        record = _find_step(states[instance_id].records, self._get_param("PluginName"))
        return ActionResult(step_shape(command, instance_id, record))

    def cancel_command(self) -> ActionResult:
        command = self.world.commands.command(self.region, self._get_param("CommandId"))
        instance_ids = self._get_param("InstanceIds") or []
        _check_instances(instance_ids, command.request.instance_ids, self.current_account)
        self.world.commands.cancel(command, instance_ids)
        return EmptyResult()

    def _command_filters(self, *keys: str) -> dict[str, str]:
        filters = {condition["key"]: condition["value"] for condition in self._get_param("Filters") or []}
        if unknown := filters.keys() - set(keys):
            raise AwsError("InvalidFilterKey", f"The filter key {', '.join(sorted(unknown))} is not valid.")
        for key in _TIME_FILTERS & filters.keys():
            _timestamp(key, filters[key])
        return filters

    def _commands(self) -> list[Command]:
        """The region's commands, or the one with the requested id."""
        command_id = self._get_param("CommandId")
        commands = self.world.commands.commands(self.region)
        return [command for command in commands if command_id in (None, command.command_id)]

    def _page_of(self, key: str, items: Sequence[dict[str, Any]]) -> ActionResult:
        size, token = self._get_int_param("MaxResults", PAGE_SIZE), self._get_param("NextToken")
        shown, following = page(items, size, token, bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": following})

    def _targeted_instances(self) -> list[str]:
        """The ids of the instances that a command goes to; AwsError for unregistered ones."""
        instance_ids, targets = self._get_param("InstanceIds") or [], self._get_param("Targets") or []
        if bool(instance_ids) == bool(targets):
            raise AwsError("ValidationException", "Specify either InstanceIds or Targets.")
        registered = self._registered_instances()
        named = instance_ids or sorted(
            {instance_id for target in targets if _is_by_id(target) for instance_id in target["Values"]}
        )
        _check_instances(named, registered, self.current_account)
        return list(instance_ids) or [
            instance_id
            for instance_id, instance in registered.items()
            if all(_is_target(instance, target) for target in targets)
        ]

    def _stored_value(self, name: str) -> str:
        """The value of a parameter in Parameter Store that an argument refers to."""
        parameter = self.ssm_backend.get_parameter(name)
        if parameter is None or parameter.parameter_type == "SecureString":
            why = "does not exist" if parameter is None else "is a SecureString"
            raise AwsError("InvalidParameters", f"The referenced parameter {name} {why}.")
        return str(parameter.value)


def _check_hash(expected: str | None, kind: str | None, document: Any) -> None:
    """AwsError when the document does not have the expected hash."""
    if expected is None:
        return
    algorithm = {None: "sha256", "Sha256": "sha256", "Sha1": "sha1"}[kind]
    if hashlib.new(algorithm, document.content.encode()).hexdigest() != expected:
        raise AwsError("InvalidDocument", f"document hash {expected} does not match {kind or 'Sha256'}.")


def _check_instances(instance_ids: Sequence[str], known: Collection[str], account: str) -> None:
    """AwsError when an instance is not among the known ones, or is named twice."""
    if unknown := [instance_id for instance_id in instance_ids if instance_id not in known]:
        message = f"Instances [[{', '.join(unknown)}]] not in a valid state for account {account}"
        raise AwsError("InvalidInstanceId", message)
    if len(set(instance_ids)) != len(instance_ids):
        raise AwsError("DuplicateInstanceId", "You can't specify an instance ID more than once.")


def _is_by_id(target: Mapping[str, Any]) -> bool:
    return str(target["Key"]).lower() == "instanceids"


def _is_target(instance: Any, target: Mapping[str, Any]) -> bool:
    """Whether an instance meets one criterion; AwsError for a criterion that is invalid or not modelled."""
    key, values = str(target["Key"]), target.get("Values") or []
    if _is_by_id(target):
        return instance.id in values
    if not key.startswith(("tag:", "tag-key")):
        raise AwsError("UnsupportedOperation", f"The rehearsal supports targets by InstanceIds and tags, not {key}.")
    if len(values) > _MAX_TAG_VALUES:
        raise AwsError("ValidationException", f"Target {key} has more than {_MAX_TAG_VALUES} values.")
    return matches_filter(instance, key, values)


def _matches_filters(command: Command, status: tuple[str, str], requested: datetime, filters: dict[str, str]) -> bool:
    """`status`: Status and StatusDetails; the filter accepts values of both (SSM API reference, CommandFilter)."""
    for key, value in filters.items():
        if key == "Status" and value not in status:
            return False
        if key == "ExecutionStage" and (value == "Executing") is (status[0] in ENDED):
            return False
        if key == "DocumentName" and command.request.document_name != value:
            return False
        if key in _TIME_FILTERS and (requested < _timestamp(key, value)) is (key == "InvokedAfter"):
            return False
    return True


def _timestamp(key: str, value: str) -> datetime:
    """The value of a time filter; UTC when it has no time zone. AwsError when it is not a timestamp."""
    try:
        timestamp = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise AwsError("ValidationException", f"The value {value} of the filter {key} is not a timestamp.") from error
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=timezone.utc)


def _find_step(records: Sequence[StepRecord], plugin: str | None) -> StepRecord:
    """The requested step; a single step need not be named (SSM API reference, InvalidPluginName)."""
    if plugin is None and len(records) == 1:
        return records[0]
    record = next((record for record in records if record.name == plugin), None)
    if record is None:
        raise AwsError("InvalidPluginName", f"The plugin name {plugin} is not valid for this command.")
    return record
