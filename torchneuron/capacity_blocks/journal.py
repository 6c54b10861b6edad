"""The purchases sent from this machine whose outcome is not known yet, so that none of them is sent again.

The account's reservations tell what was bought, but not at once: between a request and its block showing lie
seconds, or minutes when the request got lost on its way. A process killed in between remembers nothing. So a
purchase is noted here before it is sent and struck out once its block shows or it was turned away; and one lock
is held from the last look at the account to the outcome, so that two terminals cannot both find nothing and buy.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from torchneuron.core import display, files
from torchneuron.core.errors import InputError

PATIENCE = timedelta(minutes=20)
"""How long a purchase that does not show may still be on its way. AWS turns a signed request away when it is 15 minutes
old (EC2 API reference, "Error codes", RequestExpired), and what it accepted can take up to five more to show (EC2 API
reference, "Eventual consistency")."""


@dataclass(frozen=True)
class Sent:
    """A purchase as it was about to be sent `at` this time (aware).

    `offering_id` is the one the person gave, of an extension the one AWS quoted.
    """

    intent: str
    offering_id: str
    region: str
    at: datetime

    @property
    def settled(self) -> datetime:
        """From when on a purchase that does not show was not made."""
        return self.at + PATIENCE


class Journal:
    """The purchases noted in `folder`, one file each, so that striking one out needs no lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process on this machine at a time look and buy; the others wait, and say so.

        Raises InputError where no lock can be had: buying without one is not safe.
        """
        with contextlib.ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = os.open(self._folder / "purchase.lock", os.O_RDWR | os.O_CREAT, 0o600)
                held.callback(os.close, lock)
                _wait_for(lock)
            except OSError as error:
                raise self._unusable(error) from error
            yield

    def unsettled(self, now: datetime, *, offering_id: str, intent: str = "") -> Sent | None:
        """The purchase for this id or intent that may still turn out to have been made; None when there is none.

        Raises InputError when the notes cannot be read: they may hold such a purchase.
        """
        for path in sorted(self._folder.glob("purchase-*.json")):
            sent = self._read(path)
            if sent and now < sent.settled and (sent.offering_id == offering_id or sent.intent == intent):
                return sent
        return None

    def noted(self, intent: str) -> Sent | None:
        """The purchase noted for this intent, however long ago; None when there is none. Raises as `unsettled`."""
        return self._read(self._path(intent))

    def note(self, sent: Sent) -> None:
        """Note a purchase about to be sent. Raises InputError when that fails: then it must not be sent."""
        text = json.dumps({**vars(sent), "at": sent.at.isoformat()}, indent=2) + "\n"
        try:
            files.write_atomically(self._path(sent.intent), text, mode=0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def strike(self, intent: str) -> None:
        """Forget a purchase whose outcome is known. One that stays only makes the next be careful for no reason."""
        with contextlib.suppress(OSError):
            self._path(intent).unlink(missing_ok=True)

    def _path(self, intent: str) -> Path:
        return self._folder / f"purchase-{hashlib.sha256(intent.encode()).hexdigest()[:16]}.json"

    def _read(self, path: Path) -> Sent | None:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            at = datetime.fromisoformat(value["at"]).astimezone(timezone.utc)
            return Sent(intent=value["intent"], offering_id=value["offering_id"], region=value["region"], at=at)
        except FileNotFoundError:  # struck out by another process
            return None
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} cannot be understood. Nothing was bought now.",
                why="It notes a purchase that was sent from this machine and whose outcome was not known.",
                do="See what was bought with invoke cb.list, then delete the file.",
            ) from error

    def _unusable(self, error: OSError) -> InputError:
        return InputError(
            "Nothing was bought now: a purchase has to be noted on this machine first, so that it is never made twice.",
            why=f"{error.filename or self._folder}: {error.strerror}.",
            do=f"Make {self._folder} writable, or set stateDir in the settings to a folder on this machine's own disk.",
        )


def _wait_for(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        display.note("Another purchase is under way on this machine: waiting for its outcome.")
        fcntl.flock(lock, fcntl.LOCK_EX)
