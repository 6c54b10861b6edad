"""Systems Manager where moto stops short: registered instances, checked documents, commands that really run.

Shapes are botocore's service model for SSM, by which requests and answers are checked; the rules and their sources
are in `managed_instances`, `documents`, `run_command`, `commands` and `agent`.

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
from rehearsal.aws.ssm.service_settings import ServiceSettingResponse
from rehearsal.conformance.models import operation_model
from rehearsal.conformance.validation import check_request


class DocumentResponse(RehearsalResponse, SimpleSystemManagerResponse):  # type: ignore[misc] # moto has no types
    """moto keeps documents; what may be in one is checked here."""

    def setup_class(self, *args: Any, **kwargs: Any) -> None:
        super().setup_class(*args, **kwargs)
        kept = self.ssm_backend._documents
        if RUN_SHELL_SCRIPT not in kept:
            kept[RUN_SHELL_SCRIPT] = _amazons_document(RUN_SHELL_SCRIPT)

    def create_document(self) -> ActionResult:
        # botocore's model does not require a type, and moto refuses a document without: that it is Command is assumed.
        self.body = json.dumps({"DocumentType": "Command", **self._given_json()})
        if self._get_param("DocumentType") == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        super().create_document()
        return self._made(self._get_param("Name"))

    def list_documents(self) -> ActionResult:
        """moto's, with the dates that it leaves out (SSM API reference, DocumentIdentifier)."""
        found, token = self.ssm_backend.list_documents(
            self._get_param("DocumentFilterList"),
            self._get_param("Filters"),
            self._get_int_param("MaxResults", 10),
            self._get_param("NextToken", "0"),
        )
        kept = self.ssm_backend._documents
        dated = [{**one, "CreatedDate": kept[one["Name"]].get_default_version().created_date} for one in found]
        return ActionResult({"DocumentIdentifiers": dated, "NextToken": token or None})

    def update_document(self) -> ActionResult:
        kept = self.ssm_backend._documents.get(self._get_param("Name"))
        if kept is not None and kept.get_default_version().document_type == "Command":
            documents.parse(self._get_param("Content"), self._get_param("DocumentFormat", "JSON"))
        super().update_document()
        return self._made(self._get_param("Name"))

    def _made(self, name: str) -> ActionResult:
        """The document's latest version, described as AWS has it where moto doesn't.

        AWS's model knows two types of parameters in a description, String and StringList; that all others of a
        document's are shown as String is assumed.
        """
        made = self.ssm_backend._documents[name].get_latest_version()
        made.platform_types = ["Linux", "MacOS"]
        for one in made.parameter_list or []:
            one["Type"] = one["Type"] if one["Type"] == "StringList" else "String"
        description = self.ssm_backend.describe_document(name, made.document_version, None)
        return ActionResult({"DocumentDescription": description})


class RehearsalSSM(CommandResponse, DocumentResponse, ServiceSettingResponse):
    """Systems Manager as the rehearsal serves it."""

    refusal = SSMException

    def check(self) -> None:
        self.world.rates.spend(self.current_account, self.region, self._get_action())
        if model := operation_model("ssm", self._get_action()):
            check_request(model.input_shape, self._given_json())

    def get_parameter(self) -> ActionResult:
        neuron_images.check_namespace(self.region, self._get_param("Name"))
        return super().get_parameter()


def _amazons_document(name: str) -> Documents:
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
