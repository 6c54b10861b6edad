"""An AWS that is still there in the next rehearsal: `--state DIR`, see docs/rehearsal.md for what is kept and what not.

All but hosts, commands and volumes is one file, written anew after each request that may have changed something and
before that is answered, and put in place by a rename: a kill at any time leaves what the last answer told. It is moto's
own objects, pickled, so it is for the same moto and Python only, and for nobody but the user who wrote it: reading a
pickle runs it. The others have folders of their own (`host_folders`, `command_history`, `hosts.volumes`).
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import platform
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import moto
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto.backends import get_backend

from rehearsal.whole_files import make_private, write_whole

_FILE, _SUITE = "aws.pickle", "host-suite"
SERVICES = ("ec2", "iam", "kms", "s3", "secretsmanager", "ssm")
_FORMAT = 3
_ATTEMPTS = 20
_READS = ("Describe", "Get", "Head", "List", "Lookup", "Simulate", "BatchGet")
# What these tell can be bought afterwards, so it has to be remembered.
_QUOTES = ("DescribeCapacityBlockOfferings", "DescribeCapacityBlockExtensionOfferings")
# What KMS has.
_PRIVATE_KEYS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)
# The one function in moto's backends that can't be pickled.
_TAGS_FACTORY = "SimpleSystemManagerBackend.__init__.<locals>.<lambda>"


class KeepingError(Exception):
    """A folder can't be used to keep an AWS in; the message says why and what to do."""


class Keeper:
    """The folder of one AWS, held against other processes until `close`."""

    def __init__(self, folder: Path, suite: str = "none") -> None:
        """`suite`: what hosts this AWS has. Raises KeepingError."""
        self._folder = folder.absolute()
        make_folder(folder)
        try:
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise _useless(folder, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise KeepingError(f"another rehearsal keeps its AWS in {folder}; end it, or choose another") from error
        self._file = folder / _FILE
        self._saving = threading.Lock()
        try:
            choose_suite(folder, suite)
        except KeepingError:
            self.close()
            raise
        (folder / _SUITE).write_text(suite)

    def folder(self, name: str) -> Path:
        """A folder for what is kept beside the one file."""
        made = self._folder / name
        made.mkdir(mode=0o700, exist_ok=True)
        return made

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None when nothing was. Raises KeepingError."""
        if not self._file.exists():
            return None
        if self._file.stat().st_uid != os.geteuid():
            raise KeepingError(f"{self._file} is another user's; reading it would run what that user wrote")
        try:
            with self._file.open("rb") as file:
                made = pickle.load(file)
                if made != _made_by():
                    raise KeepingError(f"{self._file} was written by {made}, this is {_made_by()}; use another folder")
                read: dict[str, Any] = pickle.load(file)
        except (OSError, EOFError, AttributeError, ImportError, TypeError, pickle.UnpicklingError) as error:
            raise KeepingError(f"{self._file} can't be read: {error}; use another folder") from error
        return read

    def save(self, content: Callable[[], Mapping[str, Any]]) -> None:
        """Replace what was saved by what `content` gives. Safe to use from any thread."""
        # One after the other: what is put in place last has to have been looked at last.
        with self._saving:
            write_whole(self._file, _pickled(content))

    def close(self) -> None:
        self._lock.close()


def make_folder(folder: Path) -> None:
    """Make the folder if it is not there. KeepingError for one that is not this user's alone."""
    try:
        make_private(folder)
    except OSError as error:
        raise _useless(folder, error) from error


def _useless(folder: Path, error: OSError) -> KeepingError:
    return KeepingError(f"{folder} can't keep an AWS: {error.strerror or error}; choose another folder")


def choose_suite(folder: Path, asked: str | None) -> str | None:
    """The hosts of the AWS in a folder: those it has had so far, else those asked for. KeepingError for others."""
    if not (folder / _FILE).exists() or not (folder / _SUITE).exists():
        return asked
    kept = (folder / _SUITE).read_text()
    if asked not in (None, kept):
        raise KeepingError(
            f"the AWS in {folder} has hosts of the suite {kept}, not {asked}; leave --host-suite out, or choose "
            "another folder"
        )
    return kept


def may_change(operation: str) -> bool:
    """Whether an operation can leave anything behind that the next rehearsal has to know."""
    return operation in _QUOTES or not operation.startswith(_READS)


def backends() -> dict[str, dict[str, dict[str, Any]]]:
    """moto's state: by service, account and region."""
    return {
        service: {account: dict(regions) for account, regions in get_backend(service).items()} for service in SERVICES
    }


def put_back(kept: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Make moto's state what `backends` gave."""
    for service, accounts in kept.items():
        for account, regions in accounts.items():
            for region, backend in regions.items():
                get_backend(service)[account][region] = backend


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.FunctionType) and obj.__qualname__ == _TAGS_FACTORY:
            return _tags_factory, ()
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            # Pickle would make it anew from its factory alone, which is not what moto's subclasses take.
            return _new_defaultdict, (type(obj), obj.default_factory), vars(obj), None, iter(dict.items(obj))
        if isinstance(obj, _PRIVATE_KEYS):
            form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            return _private_key, (obj.private_bytes(*form),)
        return NotImplemented


def _private_key(der: bytes) -> Any:
    return serialization.load_der_private_key(der, None)


def _new_defaultdict(kind: Any, factory: Any) -> Any:
    made = kind.__new__(kind)
    defaultdict.__init__(made, factory)
    return made


def _tags_factory() -> Callable[[], defaultdict[str, dict[str, str]]]:
    return _dict_of_dicts


def _dict_of_dicts() -> defaultdict[str, dict[str, str]]:
    return defaultdict(dict)


def _pickled(content: Callable[[], Mapping[str, Any]]) -> bytes:
    """Other requests may be changing things at the same time. They save, too, when they are done."""
    for attempt in range(_ATTEMPTS):
        buffer = io.BytesIO()
        pickle.dump(_made_by(), buffer)
        try:
            _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(content())
            break
        except RuntimeError:
            # "dictionary changed size during iteration"
            if attempt == _ATTEMPTS - 1:
                raise
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise KeepingError(f"what was asked for leaves something that can't be kept: {error}") from error
    return buffer.getvalue()


def _made_by() -> str:
    return f"format {_FORMAT}, moto {moto.__version__}, Python {platform.python_version()}"
