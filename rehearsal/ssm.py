"""Systems Manager where moto stops short: registered instances, checked documents, commands that really run.

Shapes are botocore's service model for SSM; the rules and their sources are in `documents`, `commands` and `agent`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Document, Documents
from moto.ssm.responses import SimpleSystemManagerResponse

from rehearsal import documents
from rehearsal.agent import StepRecord
from rehearsal.answers import RehearsalResponse, matches, page
from rehearsal.command_shapes import shown_command, shown_invocation, shown_step
from rehearsal.errors import AwsError
from rehearsal.invocations import Command, Request, aggregated

AGENT_VERSION = "3.3.3185.0"
PAGE = 50


class InstanceResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """Which instances Systems Manager manages."""

    def describe_instance_information(self) -> ActionResult:
        found = [one for one in self._instances() if self._registered(one)]
        for each in self._get_param("Filters") or []:
            found = [one for one in found if _passes(one, each["Key"], each["Values"])]
        for each in self._get_param("InstanceInformationFilterList") or []:
            found = [one for one in found if _passes(one, each["key"], each["valueSet"])]
        shown, token = page(
            found,
            self._get_int_param("MaxResults", PAGE),
            self._get_param("NextToken"),
            bad_token="InvalidNextToken",
        )
        described = [self._described(one) for one in shown]
        return ActionResult({"InstanceInformationList": described, "NextToken": token})

    def _instances(self) -> list[Any]:
        return list(ec2_backends[self.current_account][self.region].all_instances())

    def _registered(self, instance: Any) -> bool:
        """Whether the instance's agent reached Systems Manager: a host that runs, a role that lets it.

        Source: Systems Manager user guide, "Configure instance permissions required for Systems Manager".
        """
        if instance.state != "running" or self.world.fleet.running(instance.id) is None:
            return False
        return may_register(instance, self.current_account, self.partition)

    def _described(self, instance: Any) -> dict[str, Any]:
        name, version = self.world.fleet.system(instance.id)
        ping = self.world.links.ping(instance.id)
        return {
            "InstanceId": instance.id,
            "PingStatus": ping.status,
            "LastPingDateTime": ping.last,
            "AgentVersion": AGENT_VERSION,
            "IsLatestVersion": True,
            "PlatformType": "Linux",
            "PlatformName": name,
            "PlatformVersion": version,
            "ResourceType": "EC2Instance",
            "IPAddress": instance.private_ip,
            "ComputerName": instance.private_dns_name,
            "SourceId": instance.id,
            "SourceType": "AWS::EC2::Instance",
        }


class DocumentResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """moto keeps documents; what may be in one is checked here."""

    def setup_class(self, *args: Any, **kwargs: Any) -> None:
        super().setup_class(*args, **kwargs)
        kept = self.ssm_backend._documents
        if documents.RUN_SHELL_SCRIPT not in kept:
            kept[documents.RUN_SHELL_SCRIPT] = _amazons_document(documents.RUN_SHELL_SCRIPT)

    def create_document(self) -> ActionResult:
        if self._get_param("DocumentType") == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        super().create_document()
        name = self._get_param("Name")
        self.ssm_backend._documents[name].get_latest_version().platform_types = ["Linux", "MacOS"]
        return ActionResult({"DocumentDescription": self.ssm_backend.describe_document(name, None, None)})

    def update_document(self) -> ActionResult:
        kept = self.ssm_backend._documents.get(self._get_param("Name"))
        if kept is not None and kept.get_default_version().document_type == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        answer = super().update_document()
        if kept is not None:
            kept.get_latest_version().platform_types = ["Linux", "MacOS"]
        return answer


class CommandResponse(InstanceResponse):
    """Run Command."""

    def send_command(self) -> ActionResult:
        instance_ids = self._targeted()
        name, version = self._get_param("DocumentName"), self._get_param("DocumentVersion") or "$DEFAULT"
        wanted = None if version == "$DEFAULT" else version
        content = self.ssm_backend.get_document(name, wanted, None, "JSON")
        if content["DocumentType"] != "Command":
            raise AwsError("InvalidDocument", f"Document {name} is not a Command document.")
        parameters = self._get_param("Parameters") or {}
        command = self.world.commands.send(
            Request(
                region=self.region,
                document_name=name,
                document_version=version,
                steps=documents.plan(documents.parse(content["Content"], "JSON"), parameters),
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
        filters = {each["key"]: each["value"] for each in self._get_param("Filters") or []}
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
        filters = {each["key"]: each["value"] for each in self._get_param("Filters") or []}
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
        self.world.commands.cancel(command, self._get_param("InstanceIds") or [])
        return EmptyResult()

    def _commands(self, command_id: str | None) -> list[Command]:
        if command_id:
            return [self.world.commands.command(self.region, command_id)]
        return self.world.commands.commands(self.region)

    def _listed(self, key: str, found: Sequence[dict[str, Any]]) -> ActionResult:
        size, token = self._get_int_param("MaxResults", PAGE), self._get_param("NextToken")
        shown, following = page(found, size, token, bad_token="InvalidNextToken")
        return ActionResult({key: shown, "NextToken": following})

    def _targeted(self) -> list[str]:
        """The instances a command goes to; AwsError (InvalidInstanceId) when one named is not registered."""
        named = list(self._get_param("InstanceIds") or [])
        tagged: list[str] = []
        registered = {one.id: one for one in self._instances() if self._registered(one)}
        for each in self._get_param("Targets") or []:
            if each["Key"].lower() == "instanceids":
                named += each["Values"]
            else:
                tagged += [name for name, one in registered.items() if _passes(one, each["Key"], each["Values"])]
        unknown = [one for one in named if one not in registered]
        if unknown:
            raise AwsError(
                "InvalidInstanceId",
                f"Instances [[{', '.join(unknown)}]] not in a valid state for account {self.current_account}",
            )
        return list(dict.fromkeys([*named, *tagged]))


class RehearsalSSM(CommandResponse, DocumentResponse):
    """Systems Manager as the rehearsal serves it."""

    refusal = SSMException


def may_register(instance: Any, account: str, partition: str) -> bool:
    """Whether the role of the instance's profile lets an agent register and take commands.

    AmazonSSMManagedInstanceCore is one policy that does; what counts is what a policy allows.
    """
    profile = (instance.iam_instance_profile or {}).get("Arn")
    if profile is None:
        return False
    profiles = iam_backends[account][partition].instance_profiles.values()
    allowed = [
        action
        for one in profiles
        if one.arn == profile
        for role in one.roles
        for document in [
            *role.policies.values(),
            *(
                version.document
                for policy in role.managed_policies.values()
                for version in policy.versions
                if version.is_default
            ),
        ]
        for action in _allowed(json.loads(document) if isinstance(document, str) else document)
    ]

    def covers(action: str) -> bool:
        return any(matches(action.lower(), [pattern.lower()]) for pattern in allowed)

    messages = covers("ssmmessages:OpenControlChannel") or covers("ec2messages:GetMessages")
    return covers("ssm:UpdateInstanceInformation") and messages


def _allowed(policy: Any) -> list[str]:
    statements = policy.get("Statement", [])
    found: list[str] = []
    for one in statements if isinstance(statements, list) else [statements]:
        actions = one.get("Action", [])
        if one.get("Effect") == "Allow":
            found += actions if isinstance(actions, list) else [actions]
    return found


def _passes(instance: Any, key: str, values: Sequence[str]) -> bool:
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    if key.startswith("tag:"):
        name = key.removeprefix("tag:")
        return name in tags and matches(tags[name], values)
    if key == "tag-key":
        return any(matches(name, values) for name in tags)
    known = {
        "InstanceIds": instance.id,
        "PingStatus": "Online",
        "PlatformTypes": "Linux",
        "ResourceType": "EC2Instance",
    }
    if key not in known:
        raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")
    return known[key] in values


def _command_passes(command: Command, status: tuple[str, str], requested: datetime, filters: dict[str, str]) -> bool:
    """`status`: the status and its details; the filter takes words of both (SSM API reference, CommandFilter)."""
    for key, value in filters.items():
        if key == "Status" and value not in status:
            return False
        if key == "DocumentName" and command.request.document_name != value:
            return False
        if key in ("InvokedAfter", "InvokedBefore"):
            instant = datetime.fromisoformat(value.replace("Z", "+00:00"))
            if (requested < instant) is (key == "InvokedAfter"):
                return False
    return True


def _amazons_document(name: str) -> Documents:
    document = Document(
        account_id="Amazon",
        name=name,
        version_name="",
        content=documents.RUN_SHELL_SCRIPT_CONTENT,
        document_type="Command",
        document_format="JSON",
        requires=[],
        attachments=[],
        target_type="",
    )
    document.platform_types = ["Linux", "MacOS"]
    return Documents(document)


def _chosen(records: Sequence[StepRecord], plugin: str | None) -> StepRecord:
    """The step asked for; with one step only it need not be named (SSM API reference, InvalidPluginName)."""
    if plugin is None and len(records) == 1:
        return records[0]
    found = next((one for one in records if one.name == plugin), None)
    if found is None:
        raise AwsError("InvalidPluginName", f"The plugin name {plugin} is not valid for this command.")
    return found
