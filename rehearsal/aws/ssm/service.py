"""Systems Manager where moto stops short: registered instances, validated documents, commands that really run.

Requests and responses are checked against botocore's service model for SSM; the rules and their sources are in
`managed_instances`, `documents`, `run_command`, `command_engine` and `agent`.

ThrottlingException, "Rate exceeded", status 400: SSM API reference, "Common Errors". AWS publishes no rates for Run
Command's operations, so there are none until the control API sets some.
"""

from __future__ import annotations

import json
from typing import Any

from moto.core.responses import ActionResult
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Document, Documents
from moto.ssm.responses import SimpleSystemManagerResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.aws import neuron_images
from rehearsal.aws.ssm import documents
from rehearsal.aws.ssm.amazon_documents import RUN_SHELL_SCRIPT, RUN_SHELL_SCRIPT_CONTENT
from rehearsal.aws.ssm.run_command import CommandResponse
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.validation import check_request
from rehearsal.errors import AwsError

_DEFAULT_HOST_ROLE = "/ssm/managed-instance/default-ec2-instance-management-role"


class DocumentResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """Operations on documents: moto stores them, this validates them."""

    def setup_class(self, *args: Any, **kwargs: Any) -> None:
        super().setup_class(*args, **kwargs)
        stored = self.ssm_backend._documents
        if RUN_SHELL_SCRIPT not in stored:
            stored[RUN_SHELL_SCRIPT] = _amazon_document(RUN_SHELL_SCRIPT)

    def create_document(self) -> ActionResult:
        # botocore's model does not require a type, but moto does; that the default is Command is assumed.
        self.body = json.dumps({"DocumentType": "Command", **self._json_members()})
        if self._get_param("DocumentType") == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        super().create_document()
        return self._latest_description(self._get_param("Name"))

    def list_documents(self) -> ActionResult:
        """Add the creation dates that moto leaves out (SSM API reference, DocumentIdentifier)."""
        identifiers, token = self.ssm_backend.list_documents(
            self._get_param("DocumentFilterList"),
            self._get_param("Filters"),
            self._get_int_param("MaxResults", 10),
            self._get_param("NextToken", "0"),
        )
        stored = self.ssm_backend._documents
        dated = [
            {**identifier, "CreatedDate": stored[identifier["Name"]].get_default_version().created_date}
            for identifier in identifiers
        ]
        return ActionResult({"DocumentIdentifiers": dated, "NextToken": token or None})

    def update_document(self) -> ActionResult:
        stored = self.ssm_backend._documents.get(self._get_param("Name"))
        if stored is not None and stored.get_default_version().document_type == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        super().update_document()
        return self._latest_description(self._get_param("Name"))

    def _latest_description(self, name: str) -> ActionResult:
        """The description of a document's latest version, with moto's deviations from AWS corrected.

        In a description, AWS's model has only the parameter types String and StringList; that all others are shown as
        String is assumed.
        """
        document = self.ssm_backend._documents[name].get_latest_version()
        document.platform_types = ["Linux", "MacOS"]
        for parameter in document.parameter_list or []:
            parameter["Type"] = parameter["Type"] if parameter["Type"] == "StringList" else "String"
        description = self.ssm_backend.describe_document(name, document.document_version, None)
        return ActionResult({"DocumentDescription": description})


class RehearsalSSM(CommandResponse, DocumentResponse):
    """Systems Manager as the rehearsal serves it. Bound to a world by `rehearsal.services`."""

    refusal = SSMException

    def check(self) -> None:
        self.world.rates.check(self.current_account, self.region, self._get_action())
        if model := operation_model("ssm", self._get_action()):
            check_request(model.input_shape, self._json_members())

    def get_parameter(self) -> ActionResult:
        neuron_images.check_namespace(self.region, self._get_param("Name"))
        return super().get_parameter()

    def get_service_setting(self) -> ActionResult:
        """Default Host Management Configuration, which is off: its effect on instances is not modelled.

        The value "$None" means off (Systems Manager user guide, "Managing EC2 instances automatically with Default Host
        Management Configuration"; SSM API reference, GetServiceSetting). moto has no service settings.
        """
        setting_id = self._get_param("SettingId")
        if setting_id != _DEFAULT_HOST_ROLE:
            raise AwsError("ServiceSettingNotFound", f"The service setting {setting_id} does not exist.")
        setting = {"SettingId": setting_id, "SettingValue": "$None", "Status": "Default"}
        return ActionResult({"ServiceSetting": setting})


def _amazon_document(name: str) -> Documents:
    document = Document(
        account_id="Amazon",
        name=name,
        version_name="",
        content=RUN_SHELL_SCRIPT_CONTENT,
        document_type="Command",
        document_format="JSON",
        requires=[],
        attachments=[],
        target_type="",
    )
    document.platform_types = ["Linux", "MacOS"]
    return Documents(document)
