"""moto's Flask application for each service, and where the rehearsal takes part in it.

The rehearsal's response classes, subclasses of moto's, stand behind EC2, IAM, Service Quotas, SSM and STS, and one
that moto lacks behind Pricing. Requests of every service have to be signed; they and their answers are checked, meet
the faults that were asked for, are counted, and what they changed is kept.
One method of moto's is replaced, by `s3`, which says why.
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
from rehearsal.faults.injection import meeting
from rehearsal.keeping import KeepingError, may_change
from rehearsal.world import World

_OURS: dict[str, type[Any]] = {
    "ec2": RehearsalEC2,
    "iam": RehearsalIAM,
    PRICING: RehearsalPricing,
    "servicequotas": RehearsalServiceQuotas,
    "ssm": RehearsalSSM,
    "sts": RehearsalSTS,
}
"""The response classes that stand in place of moto's, by service."""
_LIKE_PRICING = "servicequotas"
"""A service of moto's whose application routes requests as the one does that moto lacks."""


class Dispatcher(DomainDispatcherApplication):  # type: ignore[misc] # moto has no types
    """moto's dispatch by service, and the service that moto does not have."""

    def get_backend_for_host(self, host: str | None) -> Any:
        return PRICING if host and host.startswith(f"{PRICING}.") else super().get_backend_for_host(host)


def application(service: Any, world: World, keep: Callable[[], None]) -> Any:
    """moto's Flask application for a service, with the rehearsal's class behind it where there is one.

    `keep` is called after what may change something, whatever became of it, and before it is answered.
    """
    made = create_backend_app(_LIKE_PRICING if service == PRICING else service)
    if ours := _OURS.get(service):
        bound: Any = type(f"Bound{ours.__name__}", (ours,), {"world": world})
        for endpoint in made.view_functions:
            made.view_functions[endpoint] = convert_to_flask_response(bound.dispatch)
    for endpoint, view in made.view_functions.items():
        checking = checked(world.misfits, service, _OURS.get(service), authorized(world, service, view))
        made.view_functions[endpoint] = meeting(world.faults, service, checking)
    made.before_request(_take_whole)
    made.before_request(lambda: authentication.refusal(world.keys, service))
    made.before_request(lambda: stale_answer(service))
    made.before_request(lambda: world.calls.note(service, request))

    def keep_changes(response: Response) -> Response:
        try:
            if may_change(operation_of(service, request)):
                keep()
        except KeepingError as error:
            # A client would try a 5xx again for minutes.
            logging.getLogger(__name__).exception("%s", request.path)
            return Response(str(error), status=400)
        return response

    def keep_lost(error: BaseException | None) -> None:
        if error is not None:
            keep()

    made.after_request(keep_changes)
    made.teardown_request(keep_lost)
    return made


def _take_whole() -> None:
    """Read what was sent, once for everything that looks at it, and in any case: the rest of it would be taken for the
    connection's next request.

    A client that is gone before all of it came has asked for nothing and gets no answer: a ConnectionError, see
    `server`.
    """
    try:
        request.get_data()
    except ClientDisconnected as error:
        raise ConnectionAbortedError(f"{request.path}: cut short by the client") from error


def is_ssm(operation: str) -> bool:
    return hasattr(RehearsalSSM, camelcase_to_underscores(operation))


def make_moto_strict() -> None:
    """moto's own switches for being stricter: images and instance types must exist, and no web page may ask."""
    treat_loopback_as_secure()
    moto_settings.ENABLE_AMI_VALIDATION = True
    # Its 1,300 general images take a second to make, per region and reset; the rehearsal has its own few.
    moto_settings.ec2_load_default_amis = lambda: False
    moto_settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    # Else every answer allows whatever origin has asked.
    werkzeug_app.DISABLE_GLOBAL_CORS = True
