"""moto's Flask application for each service, with the rehearsal's response classes and checks.

EC2, IAM, Service Quotas, SSM and STS have response classes of the rehearsal, subclasses of moto's; Pricing has one that
moto lacks. For every service: requests must be signed, requests and responses are checked against the model, injected
faults are applied, calls are counted, and changes are saved.
`aws.s3.authorization` replaces one method of moto and says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import request
from moto import settings as moto_settings
from moto.core.utils import camelcase_to_underscores, convert_to_flask_response
from moto.moto_server import werkzeug_app
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Response

from rehearsal.aws.ec2.service import RehearsalEC2
from rehearsal.aws.iam import authentication
from rehearsal.aws.iam.authorization import authorized
from rehearsal.aws.iam.service import RehearsalIAM, RehearsalSTS
from rehearsal.aws.pricing import SERVICE as PRICING
from rehearsal.aws.pricing import RehearsalPricing
from rehearsal.aws.s3.authorization import treat_loopback_as_secure
from rehearsal.aws.service_quotas import RehearsalServiceQuotas
from rehearsal.aws.ssm.service import RehearsalSSM
from rehearsal.calls import operation_of
from rehearsal.conformance.checking import checked
from rehearsal.conformance.freshness import stale_answer
from rehearsal.faults.injection import with_faults
from rehearsal.state_folder import StateError, may_change
from rehearsal.world import World

_RESPONSE_CLASSES: dict[str, type[Any]] = {
    "ec2": RehearsalEC2,
    "iam": RehearsalIAM,
    PRICING: RehearsalPricing,
    "servicequotas": RehearsalServiceQuotas,
    "ssm": RehearsalSSM,
    "sts": RehearsalSTS,
}
"""The response classes that replace moto's, by service."""
_TEMPLATE_FOR_PRICING = "servicequotas"
"""A service of moto whose application routes requests as that of Pricing, which moto lacks."""


class Dispatcher(DomainDispatcherApplication):  # type: ignore[misc] # moto has no types
    """moto's dispatch by service, plus Pricing."""

    def get_backend_for_host(self, host: str | None) -> Any:
        return PRICING if host and host.startswith(f"{PRICING}.") else super().get_backend_for_host(host)


def application(service: Any, world: World, save: Callable[[], None]) -> Any:
    """moto's Flask application for a service, with the rehearsal's response class if it has one.

    `save` is called after each request that may change something, failed ones included, before the response is sent.
    """
    app = create_backend_app(_TEMPLATE_FOR_PRICING if service == PRICING else service)
    if response_class := _RESPONSE_CLASSES.get(service):
        bound: Any = type(f"Bound{response_class.__name__}", (response_class,), {"world": world})
        for endpoint in app.view_functions:
            app.view_functions[endpoint] = convert_to_flask_response(bound.dispatch)
    for endpoint, view in app.view_functions.items():
        checking = checked(world.misfits, service, _RESPONSE_CLASSES.get(service), authorized(world, service, view))
        app.view_functions[endpoint] = with_faults(world.faults, service, checking)
    app.before_request(_read_body)
    app.before_request(lambda: authentication.refusal(world.keys, service))
    app.before_request(lambda: stale_answer(service))
    app.before_request(lambda: world.calls.note(service, request))

    def save_changes(response: Response) -> Response:
        try:
            if may_change(operation_of(service, request)):
                save()
        except StateError as error:
            # Clients would retry a 5xx for minutes.
            logging.getLogger(__name__).exception("%s", request.path)
            return Response(str(error), status=400)
        return response

    def save_after_lost_response(error: BaseException | None) -> None:
        if error is not None:
            save()

    app.after_request(save_changes)
    app.teardown_request(save_after_lost_response)
    return app


def _read_body() -> None:
    """Read the body of every request, as unread bytes would be parsed as the connection's next request.

    A request that the client did not send completely has no effect and gets no response: a ConnectionError, see
    `server`.
    """
    try:
        request.get_data()
    except ClientDisconnected as error:
        raise ConnectionAbortedError(f"{request.path}: truncated by the client") from error


def is_ssm(operation: str) -> bool:
    return hasattr(RehearsalSSM, camelcase_to_underscores(operation))


def make_moto_strict() -> None:
    """Configure moto: images and instance types must exist, and responses have no CORS headers."""
    treat_loopback_as_secure()
    moto_settings.ENABLE_AMI_VALIDATION = True
    # moto's 1,300 general images take a second to create, per region and reset; the rehearsal has its own few.
    moto_settings.ec2_load_default_amis = lambda: False
    moto_settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    # By default every response allows the request's origin.
    werkzeug_app.DISABLE_GLOBAL_CORS = True
