"""Which actions Systems Manager checks for a request, and on which resources.

Sources
-------
- Resource types and keys by action: Service Authorization Reference, "Actions, resources, and condition keys for AWS
  Systems Manager".
- SendCommand is checked on the document and on each instance, with the instance's tags: Systems Manager user guide,
  "Restrict Run Command access based on tags". That this holds for the instances that tags select is assumed.
- StartSession is checked on the instance, and on the document that is named. The default document is checked only
  where the policy has `ssm:SessionDocumentAccessCheck`: the same, "Enforce a session document permission check for the
  AWS CLI". That the key is "true" whenever a document is checked, and else "false", is assumed.
- What is made with tags needs ssm:AddTagsToResource as well: botocore's model, CreateDocument.Tags, PutParameter.Tags.
- Public parameters and Amazon's documents have no account in their ARNs: the same, "Calling AMI public parameters",
  "Customize Run Command access".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ssm.models import ssm_backends

from rehearsal.answers import matches
from rehearsal.aws.iam.access import Call, Either, request_tags, resource_tags, with_tagging
from rehearsal.aws.iam.policies import Request
from rehearsal.aws.iam.principals import PARTITION

_DEFAULT_SESSION = "SSM-SessionManagerRunShell"
_CHECKED = "ssm:SessionDocumentAccessCheck"
_PUBLIC = "/aws/service/"
_TAG = "ssm:AddTagsToResource"


def requests(call: Call) -> list[Request]:
    """What is checked for a call to Systems Manager."""
    given, operation = call.parameters, call.operation
    if operation == "SendCommand":
        instances = [_instance(call, one) for one in _targeted(call)]
        return [_document(call, given.get("DocumentName") or ""), *instances]
    if operation == "StartSession":
        return _session(call)
    if operation in ("TerminateSession", "ResumeSession"):
        return [call.on(call.arn(f"session/{given.get('SessionId')}"))]
    if operation in ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"):
        kind, name = str(given.get("ResourceType")), str(given.get("ResourceId"))
        made = _document(call, name) if kind == "Document" else _parameter(call, name) if kind == "Parameter" else None
        made = made or call.on(call.arn(f"{kind.lower()}/{name}"))
        return [call.on(made.resource, {**made.context, **request_tags(given.get("Tags"))})]
    if operation in ("GetServiceSetting", "UpdateServiceSetting", "ResetServiceSetting"):
        return [call.on(call.arn(f"servicesetting{given.get('SettingId')}"))]
    if operation == "GetParametersByPath":
        return [_parameter(call, given.get("Path") or "")]
    if "Document" in operation and given.get("Name"):
        return with_tagging(_document(call, given["Name"]), _TAG, given.get("Tags"))
    if "Parameter" in operation and given.get("Name"):
        return with_tagging(_parameter(call, given["Name"]), _TAG, given.get("Tags"))
    if "Parameter" in operation and given.get("Names"):
        return [_parameter(call, name) for name in given["Names"]]
    return [call.on("*")]


def _session(call: Call) -> list[Request]:
    instance, named = _instance(call, str(call.parameters.get("Target"))), call.parameters.get("DocumentName")
    document = _document(call, named or _DEFAULT_SESSION)
    checked = call.on(instance.resource, {**instance.context, _CHECKED: "true"})
    if named:
        return [checked, document]
    return [Either(instance.action, instance.resource, {**instance.context, _CHECKED: "false"}, (checked, document))]


def _document(call: Call, name: str) -> Request:
    if name.startswith("arn:"):
        return call.on(name)
    kept = ssm_backends[call.account][call.region]
    is_amazons = name.startswith(("AWS-", "Amazon"))
    tags = resource_tags(kept._resource_tags.get("Document", {}).get(name, {}), "ssm:resourceTag")
    return call.on(call.arn(f"document/{name}", account="" if is_amazons else None), tags)


def _parameter(call: Call, name: str) -> Request:
    if name.startswith("arn:"):
        return call.on(name)
    kept = ssm_backends[call.account][call.region]
    tags = resource_tags(kept._resource_tags.get("Parameter", {}).get(name, {}), "ssm:resourceTag")
    account = "" if name.startswith(_PUBLIC) else None
    return call.on(call.arn(f"parameter/{name.lstrip('/')}", account=account), tags)


def _instance(call: Call, name: str) -> Request:
    tags = dict(ec2_backends[call.account][call.region].tags.get(name, {}))
    if name.startswith("mi-"):
        return call.on(call.arn(f"managed-instance/{name}"))
    resource = f"arn:{PARTITION}:ec2:{call.region}:{call.account}:instance/{name}"
    return call.on(resource, resource_tags(tags, "ssm:resourceTag"))


def _targeted(call: Call) -> Iterable[str]:
    """The instances that a command names, or that its targets select."""
    yield from call.parameters.get("InstanceIds") or []
    targets = call.parameters.get("Targets") or []
    tags = ec2_backends[call.account][call.region].tags
    for instance in ec2_backends[call.account][call.region].all_instances() if targets else ():
        own = tags.get(instance.id, {})
        if all(_selects(target, instance.id, own) for target in targets):
            yield instance.id


def _selects(target: Any, instance_id: str, tags: Any) -> bool:
    key, values = str(target["Key"]), target.get("Values") or []
    if key.lower() == "instanceids":
        return instance_id in values
    if key == "tag-key":
        return any(value in tags for value in values)
    tag = key.removeprefix("tag:")
    return tag in tags and (not values or matches(tags[tag], values))
