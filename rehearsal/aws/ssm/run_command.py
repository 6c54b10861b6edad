"""Run Command's operations: what SendCommand takes and refuses, what can be asked of its commands.

Sources
-------
- Targets: all criteria have to be met, five values a tag: Systems Manager user guide, "Run commands at scale"; that
  more values of a tag are a ValidationException is assumed. Keys: SSM API reference, Target.
- InstanceIds and Targets exclude each other, and one is needed: SSM API reference, SendCommand; texts assumed.
- InvalidInstanceId, DuplicateInstanceId, InvalidFilterKey, InvalidPluginName, InvocationDoesNotExist: SSM API
  reference, by operation. A registered instance whose agent is out of reach takes commands, which wait (user guide,
  "Understanding command statuses"), although the API reference lists "SSM Agent isn't running" under
  InvalidInstanceId. That CancelCommand answers this for an instance that the command did not go to is assumed.
- InvokedAfter and InvokedBefore are timestamps: SSM API reference, CommandFilter; what a value that is none gets, and
  that one without a zone is UTC, are assumed.
- DocumentHash is of the document's content, and this the error for another: aws-samples,
  aws-security-reference-architecture-examples 301. That Sha256 is meant where no type is given is assumed.
- Lists are empty for a command that is not known, for all that the API reference has InvalidCommandId among their
  errors: aws-cli 3546, aws-sdk 190 (of invocations; that it is so of commands, too, is assumed).
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
from rehearsal.aws.ssm.command_shapes import shown_command, shown_invocation, shown_step
from rehearsal.aws.ssm.invocations import ENDED, Command, Request, aggregated
from rehearsal.aws.ssm.managed_instances import PAGE, InstanceResponse, passes
from rehearsal.errors import AwsError

_VALUES_A_TAG = 5
_INSTANTS = {"InvokedAfter", "InvokedBefore"}
_FILTERS = (*sorted(_INSTANTS), "Status", "DocumentName")


class CommandResponse(InstanceResponse):
    """Run Command."""

    def send_command(self) -> ActionResult:
        instance_ids = self._targeted()
        name, version = self._get_param("DocumentName"), self._get_param("DocumentVersion") or "$DEFAULT"
        wanted = None if version == "$DEFAULT" else version
        document = self.ssm_backend._get_documents(name).find(wanted)
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
                steps=documents.plan(content, parameters, self._stored),
                instance_ids=instance_ids,
                parameters=parameters,
                targets=self._get_param("Targets") or [],
                comment=self._get_param("Comment") or "",
                timeout=self._get_int_param("TimeoutSeconds", 3600),
                max_concurrency=self._get_param("MaxConcurrency") or "50",
                max_errors=self._get_param("MaxErrors") or "0",
            )
        )
        return ActionResult({"Command": shown_command(command, self.world.commands.seen(command))})

    def list_commands(self) -> ActionResult:
        command_id, instance_id = self._get_param("CommandId"), self._get_param("InstanceId")
        found = self._commands(command_id)
        if instance_id:
            found = [one for one in found if instance_id in one.request.instance_ids]
        filters = self._filters(*_FILTERS, "ExecutionStage")
        seen = [(one, self.world.commands.seen(one)) for one in found]
        shown = [
            shown_command(one, each)
            for one, each in seen
            if _command_passes(one, aggregated(one, each), one.requested, filters)
        ]
        return self._listed("Commands", shown)

    def list_command_invocations(self) -> ActionResult:
        command_id, instance_id = self._get_param("CommandId"), self._get_param("InstanceId")
        details = bool(self._get_param("Details"))
        filters = self._filters(*_FILTERS)
        found = [
            shown_invocation(command, one, seen, details=details)
            for command in self._commands(command_id)
            for one, seen in self.world.commands.visible(command)
            if (not instance_id or one.instance_id == instance_id)
            and _command_passes(command, (seen.status, seen.details), one.requested, filters)
        ]
        return self._listed("CommandInvocations", found)

    def get_command_invocation(self) -> ActionResult:
        command_id, instance_id = self._get_param("CommandId"), self._get_param("InstanceId")
        missing = AwsError("InvocationDoesNotExist", f"No invocation of {command_id} on {instance_id}.")
        try:
            command = self.world.commands.command(self.region, command_id)
        except AwsError as error:
            raise missing from error
        seen = {one.instance_id: each for one, each in self.world.commands.visible(command)}
        if instance_id not in seen:
            raise missing
        record = _chosen(seen[instance_id].records, self._get_param("PluginName"))
        return ActionResult(shown_step(command, instance_id, record))

    def cancel_command(self) -> ActionResult:
        command = self.world.commands.command(self.region, self._get_param("CommandId"))
        named = self._get_param("InstanceIds") or []
        _check_instances(named, command.request.instance_ids, self.current_account)
        self.world.commands.cancel(command, named)
        return EmptyResult()

    def _filters(self, *known: str) -> dict[str, str]:
        filters = {each["key"]: each["value"] for each in self._get_param("Filters") or []}
        if unknown := filters.keys() - set(known):
            raise AwsError("InvalidFilterKey", f"The filter key {', '.join(sorted(unknown))} is not valid.")
        for key in _INSTANTS & filters.keys():
            _instant(key, filters[key])
        return filters

    def _commands(self, command_id: str | None) -> list[Command]:
        known = self.world.commands.commands(self.region)
        return [one for one in known if command_id in (None, one.command_id)]

    def _listed(self, key: str, found: Sequence[dict[str, Any]]) -> ActionResult:
        size, token = self._get_int_param("MaxResults", PAGE), self._get_param("NextToken")
        shown, following = page(found, size, token, bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": following})

    def _targeted(self) -> list[str]:
        """The instances a command goes to; AwsError for those named that are not registered."""
        named, targets = self._get_param("InstanceIds") or [], self._get_param("Targets") or []
        if bool(named) == bool(targets):
            raise AwsError("ValidationException", "Specify either InstanceIds or Targets.")
        registered = {one.id: one for one in self._instances() if self._registered(one)}
        by_id = [each for each in targets if _names_instances(each)]
        mentioned = named or sorted({one for each in by_id for one in each["Values"]})
        _check_instances(mentioned, registered, self.current_account)
        return list(named) or [
            name for name, one in registered.items() if all(_is_target(one, each) for each in targets)
        ]

    def _stored(self, name: str) -> str:
        """What Parameter Store has of a name that a parameter's value refers to."""
        parameter = self.ssm_backend.get_parameter(name)
        if parameter is None or parameter.parameter_type == "SecureString":
            why = "does not exist" if parameter is None else "is a SecureString"
            raise AwsError("InvalidParameters", f"The parameter {name} that is referred to {why}.")
        return str(parameter.value)


def _check_hash(wanted: str | None, kind: str | None, document: Any) -> None:
    """AwsError for a document that does not have the hash that is given."""
    if wanted is None:
        return
    algorithm = {None: "sha256", "Sha256": "sha256", "Sha1": "sha1"}[kind]
    if hashlib.new(algorithm, document.content.encode()).hexdigest() != wanted:
        raise AwsError("InvalidDocument", f"document hash {wanted} does not match {kind or 'Sha256'}.")


def _check_instances(named: Sequence[str], there: Collection[str], account: str) -> None:
    """AwsError when one of those named is not there, or is named twice."""
    if unknown := [one for one in named if one not in there]:
        told = f"Instances [[{', '.join(unknown)}]] not in a valid state for account {account}"
        raise AwsError("InvalidInstanceId", told)
    if len(set(named)) != len(named):
        raise AwsError("DuplicateInstanceId", "You can't specify an instance ID more than once.")


def _names_instances(target: Mapping[str, Any]) -> bool:
    return str(target["Key"]).lower() == "instanceids"


def _is_target(instance: Any, target: Mapping[str, Any]) -> bool:
    """Whether an instance meets one criterion; AwsError for one that there is not."""
    key, values = str(target["Key"]), target.get("Values") or []
    if _names_instances(target):
        return instance.id in values
    if not key.startswith(("tag:", "tag-key")):
        raise AwsError("UnsupportedOperation", f"The rehearsal finds targets by InstanceIds and tags, not by {key}.")
    if len(values) > _VALUES_A_TAG:
        raise AwsError("ValidationException", f"Target {key} has more than {_VALUES_A_TAG} values.")
    return passes(instance, key, values)


def _command_passes(command: Command, status: tuple[str, str], requested: datetime, filters: dict[str, str]) -> bool:
    """`status`: the status and its details; the filter takes words of both (SSM API reference, CommandFilter)."""
    for key, value in filters.items():
        if key == "Status" and value not in status:
            return False
        if key == "ExecutionStage" and (value == "Executing") is (status[0] in ENDED):
            return False
        if key == "DocumentName" and command.request.document_name != value:
            return False
        if key in _INSTANTS and (requested < _instant(key, value)) is (key == "InvokedAfter"):
            return False
    return True


def _instant(key: str, value: str) -> datetime:
    """The instant that a filter names, UTC where it names no zone; AwsError when it is none."""
    try:
        instant = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise AwsError("ValidationException", f"The value {value} of the filter {key} is not a timestamp.") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)


def _chosen(records: Sequence[StepRecord], plugin: str | None) -> StepRecord:
    """The step asked for; with one step only it need not be named (SSM API reference, InvalidPluginName)."""
    if plugin is None and len(records) == 1:
        return records[0]
    found = next((one for one in records if one.name == plugin), None)
    if found is None:
        raise AwsError("InvalidPluginName", f"The plugin name {plugin} is not valid for this command.")
    return found
