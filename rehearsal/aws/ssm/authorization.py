"""The permissions that calls to Systems Manager need.

Sources
-------
- Resource types and keys by action: Service Authorization Reference, "Actions, resources, and condition keys for AWS
  Systems Manager".
- SendCommand is checked on the document and on each instance, with the instance's tags: Systems Manager user guide,
  "Restrict Run Command access based on tags". That this includes instances selected by tags is assumed.
- StartSession is checked on the instance, and on the document that the request names. The default document is checked
  only where the policy has `ssm:SessionDocumentAccessCheck`: the same, "Enforce a session document permission check
  for the AWS CLI". That the key is "true" whenever a document is checked, and else "false", is assumed.
- Creating with tags also needs ssm:AddTagsToResource: botocore's model, CreateDocument.Tags, PutParameter.Tags.
- Public parameters and Amazon's documents have no account in their ARNs: the same, "Calling AMI public parameters",
  "Customize Run Command access".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ssm.models import ssm_backends

from rehearsal.answers import matches
from rehearsal.aws.iam.api_calls import ApiCall, RequestWithAlternative, request_tags, resource_tags, with_tagging
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION

_DEFAULT_SESSION = "SSM-SessionManagerRunShell"
_DOCUMENT_CHECK = "ssm:SessionDocumentAccessCheck"
_PUBLIC = "/aws/service/"
_TAGGING = "ssm:AddTagsToResource"


def required_permissions(call: ApiCall) -> list[Request]:
    parameters, operation = call.parameters, call.operation
    if operation == "SendCommand":
        instances = [_instance(call, instance_id) for instance_id in _targeted(call)]
        return [_document(call, parameters.get("DocumentName") or ""), *instances]
    if operation == "StartSession":
        return _session(call)
    if operation in ("TerminateSession", "ResumeSession"):
        return [call.request(call.arn(f"session/{parameters.get('SessionId')}"))]
    if operation in ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"):
        kind, name = str(parameters.get("ResourceType")), str(parameters.get("ResourceId"))
        if kind in ("Document", "Parameter"):
            request = _document(call, name) if kind == "Document" else _parameter(call, name)
        else:
            request = call.request(call.arn(f"{kind.lower()}/{name}"))
        return [call.request(request.resource, {**request.context, **request_tags(parameters.get("Tags"))})]
    if operation in ("GetServiceSetting", "UpdateServiceSetting", "ResetServiceSetting"):
        return [call.request(call.arn(f"servicesetting{parameters.get('SettingId')}"))]
    if operation == "GetParametersByPath":
        return [_parameter(call, parameters.get("Path") or "")]
    if "Document" in operation and parameters.get("Name"):
        return with_tagging(_document(call, parameters["Name"]), _TAGGING, parameters.get("Tags"))
    if "Parameter" in operation and parameters.get("Name"):
        return with_tagging(_parameter(call, parameters["Name"]), _TAGGING, parameters.get("Tags"))
    if "Parameter" in operation and parameters.get("Names"):
        return [_parameter(call, name) for name in parameters["Names"]]
    return [call.request("*")]


def _session(call: ApiCall) -> list[Request]:
    instance, name = _instance(call, str(call.parameters.get("Target"))), call.parameters.get("DocumentName")
    document = _document(call, name or _DEFAULT_SESSION)
    with_check = call.request(instance.resource, {**instance.context, _DOCUMENT_CHECK: "true"})
    if name:
        return [with_check, document]
    without_check = {**instance.context, _DOCUMENT_CHECK: "false"}
    return [RequestWithAlternative(instance.action, instance.resource, without_check, (with_check, document))]


def _document(call: ApiCall, name: str) -> Request:
    if name.startswith("arn:"):
        return call.request(name)
    account = "" if name.startswith(("AWS-", "Amazon")) else None
    return call.request(call.arn(f"document/{name}", account=account), _tags(call, "Document", name))


def _parameter(call: ApiCall, name: str) -> Request:
    if name.startswith("arn:"):
        return call.request(name)
    account = "" if name.startswith(_PUBLIC) else None
    return call.request(call.arn(f"parameter/{name.lstrip('/')}", account=account), _tags(call, "Parameter", name))


def _tags(call: ApiCall, kind: str, name: str) -> dict[str, str]:
    tags = ssm_backends[call.account][call.region]._resource_tags.get(kind, {}).get(name, {})
    return resource_tags(tags, "ssm:resourceTag")


def _instance(call: ApiCall, instance_id: str) -> Request:
    if instance_id.startswith("mi-"):
        return call.request(call.arn(f"managed-instance/{instance_id}"))
    resource = f"arn:{PARTITION}:ec2:{call.region}:{call.account}:instance/{instance_id}"
    tags = dict(ec2_backends[call.account][call.region].tags.get(instance_id, {}))
    return call.request(resource, resource_tags(tags, "ssm:resourceTag"))


def _targeted(call: ApiCall) -> Iterable[str]:
    """The ids of the instances that a command names or that its targets select."""
    yield from call.parameters.get("InstanceIds") or []
    targets = call.parameters.get("Targets") or []
    tags = ec2_backends[call.account][call.region].tags
    for instance in ec2_backends[call.account][call.region].all_instances() if targets else ():
        if all(_selects(target, instance.id, tags.get(instance.id, {})) for target in targets):
            yield instance.id


def _selects(target: Any, instance_id: str, tags: Any) -> bool:
    key, values = str(target["Key"]), target.get("Values") or []
    if key.lower() == "instanceids":
        return instance_id in values
    if key == "tag-key":
        return any(value in tags for value in values)
    tag = key.removeprefix("tag:")
    return tag in tags and (not values or matches(tags[tag], values))
