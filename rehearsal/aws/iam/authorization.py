"""Authorization: IAM users and role sessions need policies that allow a request; else AWS's error is returned.

The permissions that an operation needs are in `ec2.authorization`, `ssm.authorization`, `s3.authorization` and
`resource_authorization`. Requests with the rehearsal's own key are not checked.

Sources
-------
- Texts: IAM user guide, "Troubleshoot access denied error messages"; EC2's, with the encoded message: karpenter 7370.
- Codes: "Common Errors" of each service's API reference; EC2 API reference, "Error codes", UnauthorizedOperation.
- GetCallerIdentity and GetSessionToken need no permission: STS API reference.
- AssumeRole must be allowed by the role's trust policy and, unless that names the caller itself, by the caller's
  policies: IAM user guide, "Policy evaluation logic", "Policy evaluation for requests within a single account".
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import request
from moto.core.routing import get_service_router
from moto.iam.models import iam_backends
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from rehearsal.aws.ec2 import authorization as ec2_authorization
from rehearsal.aws.iam import resource_authorization, signatures
from rehearsal.aws.iam.api_calls import ApiCall, RequestWithAlternative
from rehearsal.aws.iam.policies import Decision, Request, decide
from rehearsal.aws.iam.principals import PARTITION, Principal, find, trusts
from rehearsal.aws.s3 import authorization as s3_authorization
from rehearsal.aws.ssm import authorization as ssm_authorization
from rehearsal.calls import operation_of
from rehearsal.conformance.models import operation_model, service_model
from rehearsal.conformance.query import read
from rehearsal.errors import AwsError
from rehearsal.world import World

View = Callable[..., Response]

_WITHOUT_PERMISSION = {"sts:GetCallerIdentity", "sts:GetSessionToken"}
_REQUIRED_PERMISSIONS: Mapping[str, Callable[[ApiCall], list[Request]]] = {
    "ec2": ec2_authorization.required_permissions,
    "iam": resource_authorization.iam,
    "kms": resource_authorization.kms,
    "s3": s3_authorization.required_permissions,
    "secretsmanager": resource_authorization.secretsmanager,
    "ssm": ssm_authorization.required_permissions,
    "sts": resource_authorization.sts,
}
"""Actions of other services are checked on `*`."""


def authorized(world: World, service: str, view: View) -> View:
    """A view that raises AwsError when the signer's policies do not allow the request.

    `service`: moto's name for it. `checking.checked` turns the error into a response.
    """

    def authorized_view(*arguments: Any, **named: Any) -> Response:
        check(world, service, operation_of(service, request), request)
        return view(*arguments, **named)

    return authorized_view


def check(world: World, service: str, operation: str, flask_request: Any) -> None:
    """AwsError when the signer of a Flask request lacks a permission for it."""
    signature = signatures.read(flask_request)
    principal = find(world.keys.owner(signature.access_key_id)) if signature else None
    if signature is None or principal is None:
        return
    # IAM's prefix for a service is the name that requests are signed for.
    prefix = str(service_model(service).signing_name)
    parameters = _parameters(service, operation, flask_request)
    call = ApiCall(world, prefix, operation, signature.region, principal.account, parameters)
    if f"{prefix}:{operation}" in _WITHOUT_PERMISSION:
        return
    for permission in _REQUIRED_PERMISSIONS.get(service, _on_any_resource)(call):
        _check(call, principal, permission, str(service_model(service).metadata["protocol"]))


def _check(call: ApiCall, principal: Principal, request: Request, protocol: str) -> None:
    context = {**call.context(), **principal.context(), **request.context}
    decision = _decision(principal, replace(request, context=context))
    if decision is Decision.ALLOWED:
        return
    if not isinstance(request, RequestWithAlternative):
        raise _access_denied(principal, request, decision, protocol)
    for alternative in request.alternatives:
        _check(call, principal, alternative, protocol)


def _on_any_resource(call: ApiCall) -> list[Request]:
    return [call.request("*")]


def _decision(principal: Principal, request: Request) -> Decision:
    own = decide(principal.policies, request)
    roles = iam_backends[principal.account][PARTITION].roles.values()
    role = next((role for role in roles if role.arn == request.resource), None)
    if request.action != "sts:AssumeRole" or role is None or own is Decision.EXPLICITLY_DENIED:
        return own
    if trusts(role, ["*", principal.arn, principal.issuer], request):
        return Decision.ALLOWED
    account = [principal.account, f"arn:{PARTITION}:iam::{principal.account}:root"]
    return own if trusts(role, account, request) else Decision.IMPLICITLY_DENIED


def _parameters(service: str, operation: str, flask_request: Any) -> Mapping[str, Any]:
    """The request's parameters, named as in the API reference, without those that can't be parsed."""
    model = operation_model(service, operation)
    if model is None:
        return {}
    protocol = str(model.service_model.metadata["protocol"])
    if protocol in ("ec2", "query"):
        return read(model.input_shape, flask_request.values.to_dict(), is_ec2=protocol == "ec2").values
    if protocol == "json":
        body = flask_request.get_json(force=True, silent=True)
        return body if isinstance(body, dict) else {}
    try:
        _, in_path = get_service_router(service).match(flask_request)
    except (NotFound, NotImplementedError):
        return {}
    members = model.input_shape.members if model.input_shape else {}
    in_query = {
        name: flask_request.args[member.serialization["name"]]
        for name, member in members.items()
        if member.serialization.get("location") == "querystring" and member.serialization["name"] in flask_request.args
    }
    return {**in_query, **in_path}


def _access_denied(principal: Principal, request: Request, decision: Decision, protocol: str) -> AwsError:
    message = f"User: {principal.arn} is not authorized to perform: {request.action} on resource: {request.resource}"
    if decision is Decision.EXPLICITLY_DENIED:
        message += " with an explicit deny in an identity-based policy"
    else:
        message += f" because no identity-based policy allows the {request.action} action"
    if protocol == "ec2":
        message = f"You are not authorized to perform this operation. {message}"
        if not request.action.startswith("ec2:Describe"):
            encoded = base64.urlsafe_b64encode(hashlib.sha512(message.encode()).digest()).decode()
            message += f". Encoded authorization failure message: {encoded}"
        return AwsError("UnauthorizedOperation", message, 403)
    if "json" in protocol:
        return AwsError("AccessDeniedException", message, 400 if protocol == "json" else 403)
    return AwsError("AccessDenied", message, 403)
