"""Purchases without a client token: each request is sent once, and a lost response is settled by looking.

EC2 refunds neither PurchaseCapacityBlock nor PurchaseCapacityBlockExtension, and a repeated request buys twice. So
the client that sends them never retries. When the request may have taken effect despite an error, it is not sent
again; the account is searched for the purchase instead.

A purchase shows in the account seconds after the request, or minutes when the request was delayed. The journal
covers that time: it records each purchase before it is sent, so that a process killed in between does not cause a
second one. A lock is held from the last lookup to the outcome: two terminals cannot both find nothing and buy.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
)
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from torchneuron.aws.errors import calling
from torchneuron.core import display, files
from torchneuron.core.errors import (
    AccessError,
    AwsError,
    Declined,
    InputError,
    PurchaseUnknownError,
    TorchNeuronError,
    UnreachableError,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

OfferT = TypeVar("OfferT")
BoughtT = TypeVar("BoughtT")
Sleep = Callable[[float], None]
Clock = Callable[[], datetime]

SETTLE_TIME = timedelta(minutes=20)
"""How long a purchase that does not show may still be under way. AWS refuses a signed request that is 15 minutes old
(EC2 API reference, "Error codes", RequestExpired), and what it accepted can take up to five more to show (EC2 API
reference, "Eventual consistency")."""
PAYMENT_TIMEOUT = 1800.0
"""Seconds to wait for a payment. AWS takes it within 12 hours, usually within minutes."""
_LONGEST_PAYMENT_POLL = 20.0
# Seconds before each lookup after a lost response. EC2 usually shows a new resource within seconds.
_LOOKUP_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# The request did not reach AWS. ProxyConnectionError is not in the list: urllib3 also raises it when a proxy drops a
# connection after the request went through.
_NEVER_SENT = (ConnectTimeoutError, EndpointConnectionError, ParamValidationError)
DRY_RUN_SUCCEEDED = "DryRunOperation"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class SentRequest(BaseModel):
    """A purchase request as recorded before it was sent.

    `offering_id` is the id the user gave; for an extension, the id AWS quoted.
    """

    model_config = ConfigDict(frozen=True)

    intent: str
    offering_id: str
    region: str
    at: AwareDatetime

    @property
    def settles_at(self) -> datetime:
        """From then on, a purchase that does not show did not take place."""
        return self.at + SETTLE_TIME


class Journal:
    """The requests sent from this machine whose outcome is unknown: one file each in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process on this machine look up and buy at a time; others wait.

        Raises InputError when the lock file cannot be used: buying without the lock is not safe.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = os.open(self._folder / "purchase.lock", os.O_RDWR | os.O_CREAT, 0o600)
                stack.callback(os.close, lock)
                _acquire(lock)
            except OSError as error:
                raise self._unusable(error) from error
            yield

    def find_unsettled(self, now: datetime, *, offering_id: str, intent: str = "") -> SentRequest | None:
        """A request for this id or intent that may still take effect.

        Raises InputError when an entry cannot be read: it may be such a request.
        """
        for path in sorted(self._folder.glob("purchase-*.json")):
            sent = self._read(path)
            if sent and now < sent.settles_at and (sent.offering_id == offering_id or sent.intent == intent):
                return sent
        return None

    def find(self, intent: str) -> SentRequest | None:
        """The request recorded for this intent, however old. Raises InputError when it cannot be read."""
        return self._read(self._path(intent))

    def record(self, sent: SentRequest) -> None:
        """Raises InputError when the entry cannot be written; the request must not be sent then."""
        try:
            files.write_atomically(self._path(sent.intent), sent.model_dump_json(indent=2) + "\n", mode=0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def clear(self, intent: str) -> None:
        """Remove the entry of a request whose outcome is known.

        Errors are ignored: an entry that stays only delays the next purchase.
        """
        with contextlib.suppress(OSError):
            self._path(intent).unlink(missing_ok=True)

    def _path(self, intent: str) -> Path:
        return self._folder / f"purchase-{hashlib.sha256(intent.encode()).hexdigest()[:16]}.json"

    def _read(self, path: Path) -> SentRequest | None:
        try:
            return SentRequest.model_validate_json(path.read_bytes())
        except FileNotFoundError:  # cleared by another process
            return None
        except OSError as error:
            raise self._unusable(error) from error
        except ValidationError as error:
            raise InputError(
                f"{path} is not readable as a purchase record. Nothing was bought now.",
                why="It records a purchase that was sent from this machine and whose outcome was not known.",
                do="See what was bought with invoke cb.list, then delete the file.",
            ) from error

    def _unusable(self, error: OSError) -> InputError:
        return InputError(
            "Nothing was bought now: the purchase cannot be recorded on this machine.",
            why=f"Without a record it could be made twice. {error.filename or self._folder}: {error.strerror}.",
            do=f"Make {self._folder} writable, or set stateDir in the settings to a folder on this machine's own disk.",
        )


class Purchase(ABC, Generic[OfferT, BoughtT]):
    """One purchase: look it up, ask for approval, send one request, settle a lost response by looking.

    Subclasses say what is bought and how it is found again. `ec2_once` must be a client without retries
    (`Aws.ec2_once`).
    """

    offer: OfferT
    """What is on sale, as AWS quotes it now. Set by a `look_up` that returns None."""

    def __init__(self, ec2: EC2Client, ec2_once: EC2Client, journal: Journal, sleep: Sleep, now: Clock) -> None:
        self.ec2, self.ec2_once, self.journal, self.sleep, self.now = ec2, ec2_once, journal, sleep, now

    @abstractmethod
    def look_up(self) -> BoughtT | None:
        """The purchase, if it was made earlier; else None, with `offer` set.

        Raises PurchaseUnknownError when a request that was sent may still take effect.
        """

    @abstractmethod
    def look_up_again(self) -> BoughtT | None:
        """The purchase, if it was made since `look_up`. Raises as `look_up`."""

    @abstractmethod
    def doing(self) -> str:
        """The action on `offer`, such as "buy cb-…"; completes "Could not …"."""

    @abstractmethod
    def describe_request(self) -> SentRequest:
        """The journal entry for the request."""

    @abstractmethod
    def build_request(self) -> dict[str, Any]:
        """The request's parameters."""

    @abstractmethod
    def call(self, request: dict[str, Any]) -> Any:
        """Call AWS once with `request`; nothing else."""

    @abstractmethod
    def parse(self, response: Any) -> BoughtT | None:
        """The purchase in AWS's response; None when the response does not name it."""

    @abstractmethod
    def find(self) -> BoughtT | None:
        """The purchase of `offer` in the account; None while it does not show or cannot be read."""

    @abstractmethod
    def confirm(self, bought: BoughtT) -> None:
        """Note that the purchase is made."""

    @abstractmethod
    def refused(self, error: AwsError) -> TorchNeuronError:
        """The error for a request that AWS refused."""

    @abstractmethod
    def unknown(self, sent: SentRequest, reason: str) -> PurchaseUnknownError:
        """The error for a request whose outcome cannot be found out."""

    @abstractmethod
    def lookup_command(self, sent: SentRequest) -> str:
        """The AWS CLI command that shows whether the request took effect."""

    def run(self, approve: Callable[[OfferT], bool]) -> BoughtT:
        """Buy, unless it was bought already. Raises Declined unless `approve` returns true for the offer."""
        bought = self.look_up()
        if bought is None:
            if not approve(self.offer):
                raise Declined("Nothing was bought.")
            with self.journal.locked():
                # The question may have stayed open while a colleague or another terminal bought it.
                bought = self.look_up_again() or self._buy()
        return bought

    def try_out(self) -> OfferT | None:
        """Do the same lookups, then send the request with EC2's DryRun. Returns None when it was bought already.

        Raises PurchaseUnknownError when AWS seems to have executed the request.
        """
        if self.look_up() is not None:
            return None
        request = {**self.build_request(), "DryRun": True}
        doing = self.doing()
        try:
            with display.waiting(doing.capitalize()), calling(doing):
                self.call(request)
        except AwsError as error:
            # EC2 reports success as an error (EC2 API reference, "Common client error codes").
            if error.code == DRY_RUN_SUCCEEDED:
                return self.offer
            raise self.refused(error) from error
        raise PurchaseUnknownError(
            "AWS may have executed the dry run. Do not buy again before you know.",
            why="The response reports a purchase, which a dry run never does.",
            do=f"This shows what was bought:\n  {self.lookup_command(self.describe_request())}",
        )

    def _buy(self) -> BoughtT:
        """Send the request once and find out its outcome. The journal entry stays unless AWS refused the request."""
        request, sent = self.build_request(), self.describe_request()
        self.journal.record(sent)
        response, cause = self._send(request, sent)
        bought: BoughtT | None = None
        if cause is None:
            try:
                bought = self.parse(response)
            except Exception as error:  # the request took effect: whatever the response holds, look for the purchase
                cause = error
        bought = bought or self._settle()
        if bought is None:
            raise self.unknown(sent, _reason(cause)) from cause
        self.confirm(bought)
        return bought

    def _send(self, request: dict[str, Any], sent: SentRequest) -> tuple[Any, BaseException | None]:
        """The response, or the error after which the outcome is unknown.

        Raises what `refused` makes of an error, and InputError, only when the request certainly had no effect.
        """
        doing = self.doing()
        with display.waiting(doing.capitalize()):
            try:
                with calling(doing):
                    return self.call(request), None
            except AwsError as error:
                if _may_have_taken_effect(error):
                    return None, error
                self.journal.clear(sent.intent)
                raise self.refused(error) from error
            except InputError:  # the AWS configuration of this machine: nothing was sent
                self.journal.clear(sent.intent)
                raise
            except (Exception, KeyboardInterrupt) as error:  # the request may have been sent
                return None, error

    def _settle(self) -> BoughtT | None:
        """Look for the purchase for about a minute; Ctrl-C ends it.

        None proves nothing: AWS may still be processing the request.
        """
        with contextlib.suppress(KeyboardInterrupt), display.waiting("The response was lost; looking for the purchase"):
            for delay in _LOOKUP_DELAYS:
                self.sleep(delay)
                if found := self.find():
                    return found
        return None


def wait_until_paid(
    name: str,
    bought: BoughtT,
    *,
    is_pending: Callable[[BoughtT], bool],
    refresh: Callable[[BoughtT], BoughtT],
    sleep: Sleep,
) -> BoughtT:
    """The purchase once its payment is no longer pending, or after `PAYMENT_TIMEOUT`."""
    waited, delay = 0.0, 1.0
    with display.waiting(f"Waiting for the payment of {name}"):
        while is_pending(bought) and waited < PAYMENT_TIMEOUT:
            sleep(delay)
            waited, delay = waited + delay, min(delay * 1.5, _LONGEST_PAYMENT_POLL)
            bought = refresh(bought)
    return bought


def unknown_error(what: str, why: str, sent: SentRequest, *, lookup: str, command: str) -> PurchaseUnknownError:
    """The error for a purchase that may still show. `command` is what to run again, such as `invoke cb.extend`."""
    return PurchaseUnknownError(
        what,
        why=f"{why} It can still appear until {sent.settles_at:%H:%M:%S} UTC.",
        do=f"This shows it if it was bought:\n  {lookup}\n"
        f"The same {command} looks there first. It sends nothing until then. After that, it buys if the purchase"
        " still does not show.",
    )


def _acquire(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        display.note("Another purchase is in progress on this machine; waiting for it to finish.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _may_have_taken_effect(error: AwsError) -> bool:
    """Whether AWS may have executed the request despite this error."""
    cause = error.__cause__
    if isinstance(error, AccessError) or isinstance(cause, _NEVER_SENT):
        return False
    if isinstance(cause, ClientError):
        return isinstance(error, UnreachableError)
    return True


def _reason(cause: BaseException | None) -> str:
    """Why the outcome is unknown, as a sentence."""
    if cause is None:
        return "The request was sent, and the response does not name what was bought."
    if isinstance(cause, KeyboardInterrupt):
        return "The command was interrupted after the request was sent."
    detail = cause.why or cause.what if isinstance(cause, AwsError) else repr(cause)
    return f"The request was sent, and the response was lost ({detail.rstrip('.')})."
