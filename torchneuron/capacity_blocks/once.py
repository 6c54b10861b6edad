"""Requests that spend money and have no client token: sent once, and what became of them found out by looking.

EC2 takes neither PurchaseCapacityBlock nor PurchaseCapacityBlockExtension back, and would take a repeated one for
a second purchase. So the client that sends them never retries, and an error is told apart by one question: may the
request have taken effect all the same? If it may, nobody sends it again; the account is looked at instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeVar

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ProxyConnectionError,
)

from torchneuron import display
from torchneuron.aws import calling
from torchneuron.errors import AccessError, AwsError, InputError, PurchaseError, UnreachableError

T = TypeVar("T")
Sleep = Callable[[float], None]
Clock = Callable[[], datetime]

PAYMENT_PATIENCE = 1800.0
"""Seconds. AWS takes payment within 12 hours, as a rule within minutes; after this long the person is let go."""
_SLOWEST_POLL = 20.0
# Seconds between looks for a request whose answer was lost: EC2 shows what is new within seconds as a rule.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# The request did not get as far as AWS.
_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, ParamValidationError)
_DRY_RUN_WOULD_WORK = "DryRunOperation"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def send(doing: str, request: Callable[[], T | None]) -> T | None:
    """The result of `request`, which calls AWS once; None when its outcome is open.

    `doing` completes "Could not …". Raises AwsError and InputError only when it is certain that nothing took
    effect.
    """
    try:
        with display.waiting(doing.capitalize()), calling(doing):
            return request()
    except AwsError as error:
        if not _is_open(error):
            raise
        return None
    except InputError:  # this machine's AWS configuration: nothing was sent
        raise
    except (Exception, KeyboardInterrupt):  # whatever it was, the request may have been sent
        return None


def settle(look: Callable[[], T | None], *, sleep: Sleep) -> T | None:
    """What `look` finds of a request whose outcome is open, looking for about a minute; Ctrl-C ends it.

    None proves nothing: the request may still be under way inside AWS.
    """
    try:
        with display.waiting("AWS's answer got lost: looking whether it was bought"):
            for pause in _LOOKS:
                sleep(pause)
                if found := look():
                    return found
    except KeyboardInterrupt:
        pass
    return None


def until_paid(what: str, pending: Callable[[], bool], *, sleep: Sleep) -> None:
    """Wait while `pending`, which looks anew each time after the first, but no longer than `PAYMENT_PATIENCE`."""
    waited, pause = 0.0, 1.0
    with display.waiting(f"AWS takes the payment for {what}"):
        while pending() and waited < PAYMENT_PATIENCE:
            sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, _SLOWEST_POLL)


def dry_run(doing: str, request: Callable[[], object]) -> None:
    """Send a request with EC2's DryRun, and return when AWS would have carried it out.

    EC2 answers that with an error (EC2 API reference, "Common client error codes"). Raises AwsError otherwise.
    """
    try:
        with display.waiting(doing.capitalize()), calling(doing):
            request()
    except AwsError as error:
        if error.code != _DRY_RUN_WOULD_WORK:
            raise
        return
    raise AwsError(f"Could not {doing}: AWS's answer makes no sense.", why="It took a dry run for the real thing.")


def nothing_bought(error: AwsError, refusals: dict[str, str]) -> AwsError | PurchaseError:
    """The error of a request that was turned away, said for a buyer. `refusals`: AWS's codes in our words."""
    if isinstance(error, AccessError):
        return AccessError(f"Nothing was bought. {error.what}", code=error.code, why=error.why, do=error.do)
    if reason := refusals.get(error.code):
        return PurchaseError(f"Nothing was bought: {reason}.", why=error.why, do="Search again with invoke cb.search.")
    return PurchaseError(f"Nothing was bought. {error.what}", why=error.why, do=error.do)


def _is_open(error: AwsError) -> bool:
    """Whether the request may have taken effect although this error came back."""
    cause = error.__cause__
    if isinstance(error, AccessError) or isinstance(cause, _NEVER_SENT):
        return False
    if isinstance(cause, ClientError):
        return isinstance(error, UnreachableError)
    return True
