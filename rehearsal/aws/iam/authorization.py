"""Requests by IAM users and role sessions are allowed by their policies, or refused as AWS refuses them.

Which actions an operation checks, and on which resources, is in `ec2_authorization`, `ssm_authorization`,
`s3_authorization` and `resource_authorization`. Requests by the rehearsal's own key are not checked.

Sources
-------
- Texts: IAM user guide, "Troubleshoot access denied error messages"; EC2's, with the encoded message: karpenter 7370.
- Codes: "Common Errors" of each service's API reference; EC2 API reference, "Error codes", UnauthorizedOperation.
- GetCallerIdentity and GetSessionToken need no permission: STS API reference.
- AssumeRole needs the role's trust, and the caller's policies too unless the trust names the caller itself: IAM user
  guide, "Policy evaluation logic", "Policy evaluation for requests within a single account".
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
from rehearsal.aws.iam.access import Call, Either
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

_FREE = {"sts:GetCallerIdentity", "sts:GetSessionToken"}
_CHECKS: Mapping[str, Callable[[Call], list[Request]]] = {
    "ec2": ec2_authorization.requests,
    "iam": resource_authorization.iam,
    "kms": resource_authorization.kms,
    "s3": s3_authorization.requests,
    "secretsmanager": resource_authorization.secretsmanager,
    "ssm": ssm_authorization.requests,
    "sts": resource_authorization.sts,
}
"""Other services have all actions checked on `*`."""


def authorized(world: World, service: str, view: View) -> View:
    """A view that raises AwsError when the policies of whoever signed the request do not allow it.

    `service` by moto's name. To be wrapped by `checking.checked`, which answers with the error.
    """

    def view_authorized(*arguments: Any, **named: Any) -> Response:
        check(world, service, operation_of(service, request), request)
        return view(*arguments, **named)

    return view_authorized


def check(world: World, service: str, operation: str, sent: Any) -> None:
    """AwsError when whoever signed a Flask request may not do it."""
    signature = signatures.read(sent)
    principal = find(world.keys.owner(signature.access_key_id)) if signature else None
    if signature is None or principal is None:
        return
    given = _parameters(service, operation, sent)
    call = Call(world, _prefix(service), operation, signature.region, principal.account, given)
    if f"{call.service}:{operation}" in _FREE:
        return
    for each in _CHECKS.get(service, _on_anything)(call):
        _check(call, principal, each, str(service_model(service).metadata["protocol"]))


def _check(call: Call, principal: Principal, request: Request, protocol: str) -> None:
    context = {**call.context(), **principal.context(), **request.context}
    decision = _decision(principal, replace(request, context=context))
    if decision is Decision.ALLOWED:
        return
    if not isinstance(request, Either):
        raise _denied(principal, request, decision, protocol)
    for each in request.otherwise:
        _check(call, principal, each, protocol)


def _on_anything(call: Call) -> list[Request]:
    return [Request(f"{call.service}:{call.operation}", "*")]


def _prefix(service: str) -> str:
    """What IAM calls the service, which is what requests to it are signed for."""
    return str(service_model(service).signing_name)


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


def _parameters(service: str, operation: str, sent: Any) -> Mapping[str, Any]:
    """The request's parameters as its API reference names them. What can't be read is not there."""
    model = operation_model(service, operation)
    if model is None:
        return {}
    protocol = str(model.service_model.metadata["protocol"])
    if protocol in ("ec2", "query"):
        return read(model.input_shape, sent.values.to_dict(), is_ec2=protocol == "ec2").values
    if protocol == "json":
        body = sent.get_json(force=True, silent=True)
        return body if isinstance(body, dict) else {}
    try:
        _, in_path = get_service_router(service).match(sent)
    except (NotFound, NotImplementedError):
        return {}
    members = model.input_shape.members if model.input_shape else {}
    in_query = {
        name: sent.args[member.serialization["name"]]
        for name, member in members.items()
        if member.serialization.get("location") == "querystring" and member.serialization["name"] in sent.args
    }
    return {**in_query, **in_path}


def _denied(principal: Principal, request: Request, decision: Decision, protocol: str) -> AwsError:
    told = f"User: {principal.arn} is not authorized to perform: {request.action} on resource: {request.resource}"
    if decision is Decision.EXPLICITLY_DENIED:
        told += " with an explicit deny in an identity-based policy"
    else:
        told += f" because no identity-based policy allows the {request.action} action"
    if protocol == "ec2":
        told = f"You are not authorized to perform this operation. {told}"
        if not request.action.startswith("ec2:Describe"):
            encoded = base64.urlsafe_b64encode(hashlib.sha512(told.encode()).digest()).decode()
            told += f". Encoded authorization failure message: {encoded}"
        return AwsError("UnauthorizedOperation", told, 403)
    if "json" in protocol:
        return AwsError("AccessDeniedException", told, 400 if protocol == "json" else 403)
    return AwsError("AccessDenied", told, 403)
