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
)

from torchneuron.aws.errors import calling
from torchneuron.capacity_blocks.journal import Journal, Sent
from torchneuron.core import display
from torchneuron.core.errors import (
    AccessError,
    AwsError,
    InputError,
    PurchaseUnknownError,
    TorchNeuronError,
    UnreachableError,
)

T = TypeVar("T")
Sleep = Callable[[float], None]
Clock = Callable[[], datetime]
TurnedAway = Callable[[AwsError], TorchNeuronError]

PAYMENT_PATIENCE = 1800.0
"""Seconds. AWS takes payment within 12 hours, as a rule within minutes; after this long the person is let go."""
_SLOWEST_POLL = 20.0
# Seconds between looks for a request whose answer was lost: EC2 shows what is new within seconds as a rule.
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# The request did not get as far as AWS. ProxyConnectionError is not among them: urllib3 raises it, too, when a proxy
# drops a connection that the request has gone through already.
_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, ParamValidationError)
DRY_RUN_WOULD_WORK = "DryRunOperation"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def send(
    doing: str, request: Callable[[], T | None], *, journal: Journal, sent: Sent, turned_away: TurnedAway
) -> T | None:
    """The result of `request`, which calls AWS once; None when its outcome is open.

    `doing` completes "Could not …". It is noted in the journal as `sent` before, and stays there unless it was turned
    away. Raises what `turned_away` makes of AWS's refusal, and InputError, only when it is certain that nothing took
    effect.
    """
    journal.note(sent)
    try:
        with display.waiting(doing.capitalize()), calling(doing):
            return request()
    except AwsError as error:
        if _is_open(error):
            return None
        journal.strike(sent.intent)
        raise turned_away(error) from error
    except InputError:  # this machine's AWS configuration: nothing was sent
        journal.strike(sent.intent)
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


def until_paid(what: str, bought: T, *, is_pending: Callable[[T], bool], look: Callable[[T], T], sleep: Sleep) -> T:
    """`bought` as `look` finds it once it is no longer pending, or after `PAYMENT_PATIENCE`."""
    waited, pause = 0.0, 1.0
    with display.waiting(f"AWS takes the payment for {what}"):
        while is_pending(bought) and waited < PAYMENT_PATIENCE:
            sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, _SLOWEST_POLL)
            bought = look(bought)
    return bought


def dry_run(doing: str, request: Callable[[], object], *, turned_away: TurnedAway, tells: str) -> None:
    """Send a request with EC2's DryRun, and return when AWS says that it may be made.

    EC2 answers that with an error (EC2 API reference, "Common client error codes"). Raises what
    `turned_away` makes of the error when it may not; PurchaseUnknownError, with the command that `tells`, when AWS
    seems to have made it.
    """
    try:
        with display.waiting(doing.capitalize()), calling(doing):
            request()
    except AwsError as error:
        if error.code != DRY_RUN_WOULD_WORK:
            raise turned_away(error) from error
        return
    raise PurchaseUnknownError(
        "AWS seems to have taken the dry run for the real thing. Do not buy before you know.",
        why="It answered as if something had been bought, which it never should.",
        do=f"This shows what was bought:\n  {tells}",
    )


def _is_open(error: AwsError) -> bool:
    """Whether the request may have taken effect although this error came back."""
    cause = error.__cause__
    if isinstance(error, AccessError) or isinstance(cause, _NEVER_SENT):
        return False
    if isinstance(cause, ClientError):
        return isinstance(error, UnreachableError)
    return True
