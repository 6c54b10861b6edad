"""An AWS that outlives its process: `--state DIR`, see docs/rehearsal.md for what is kept.

Everything but hosts, commands and volumes is in one file, which is replaced atomically after each request that may have
changed something, before the response: a kill at any time loses nothing that was answered. The file is a pickle of
moto's own objects, so it is valid for the same versions of moto and Python only, and is read only if this user wrote
it: unpickling runs code. Hosts, commands and volumes have folders of their own (`hosts.folders`,
`aws.ssm.command_history`, `hosts.volumes`).
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

from rehearsal.atomic_files import make_private_folder, write_atomically

_FILE, _SUITE = "aws.pickle", "host-suite"
SERVICES = ("ec2", "iam", "kms", "s3", "secretsmanager", "ssm")
_FORMAT = 4
_MAX_ATTEMPTS = 20
_READS = ("Describe", "Get", "Head", "List", "Lookup", "Simulate", "BatchGet")
# What these return can be purchased later.
_READS_TO_KEEP = ("DescribeCapacityBlockOfferings", "DescribeCapacityBlockExtensionOfferings")
# In KMS.
_PRIVATE_KEYS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)
# The only function in moto's backends that can't be pickled.
_TAGS_FACTORY = "SimpleSystemManagerBackend.__init__.<locals>.<lambda>"


class StateError(Exception):
    """A state folder can't be used; the message says why and what to do."""


class StateFolder:
    """The state folder of one AWS, locked against other processes until `close`."""

    def __init__(self, folder: Path, suite: str = "none") -> None:
        """`suite`: the kind of hosts of this AWS. Raises StateError."""
        self._folder = folder.absolute()
        make_folder(folder)
        try:
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StateError(f"another rehearsal keeps its AWS in {folder}; end it, or choose another") from error
        self._file = folder / _FILE
        self._saving = threading.Lock()
        try:
            choose_suite(folder, suite)
        except StateError:
            self.close()
            raise
        (folder / _SUITE).write_text(suite)

    def subfolder(self, name: str) -> Path:
        """Create a subfolder, for state that is not in the pickle."""
        path = self._folder / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None when nothing was saved. Raises StateError."""
        if not self._file.exists():
            return None
        if self._file.stat().st_uid != os.geteuid():
            raise StateError(f"{self._file} is another user's; reading it would run what that user wrote")
        try:
            with self._file.open("rb") as file:
                written_by = pickle.load(file)
                if written_by != _versions():
                    raise StateError(
                        f"{self._file} was written by {written_by}, this is {_versions()}; use another folder"
                    )
                state: dict[str, Any] = pickle.load(file)
        except (OSError, EOFError, AttributeError, ImportError, TypeError, pickle.UnpicklingError) as error:
            raise StateError(f"{self._file} can't be read: {error}; use another folder") from error
        return state

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Save what `state` returns. Thread-safe."""
        # Serialized, so that the file written last has the newest state.
        with self._saving:
            write_atomically(self._file, _pickled(state))

    def close(self) -> None:
        self._lock.close()


def make_folder(folder: Path) -> None:
    """Create the folder if it is missing. StateError when other users can write to it."""
    try:
        make_private_folder(folder)
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> StateError:
    return StateError(f"{folder} can't keep an AWS: {error.strerror or error}; choose another folder")


def choose_suite(folder: Path, requested: str | None) -> str | None:
    """The kind of hosts of the AWS in a folder, or of a new one the requested kind. StateError if these differ."""
    if not (folder / _FILE).exists() or not (folder / _SUITE).exists():
        return requested
    suite = (folder / _SUITE).read_text()
    if requested not in (None, suite):
        raise StateError(
            f"the AWS in {folder} has hosts of the suite {suite}, not {requested}; leave --host-suite out, or choose "
            "another folder"
        )
    return suite


def may_change(operation: str) -> bool:
    """Whether an operation can change something that the next rehearsal needs."""
    return operation in _READS_TO_KEEP or not operation.startswith(_READS)


def moto_state() -> dict[str, dict[str, dict[str, Any]]]:
    """moto's backends by service, account and region."""
    return {
        service: {account: dict(regions) for account, regions in get_backend(service).items()} for service in SERVICES
    }


def restore_moto_state(state: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Replace moto's backends with those of `moto_state`."""
    for service, accounts in state.items():
        for account, regions in accounts.items():
            for region, backend in regions.items():
                get_backend(service)[account][region] = backend


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.FunctionType) and obj.__qualname__ == _TAGS_FACTORY:
            return _tags_factory, ()
        if isinstance(obj, defaultdict) and type(obj) is not defaultdict:
            # Pickle would call the class with the factory only, which moto's subclasses do not accept.
            return _new_defaultdict, (type(obj), obj.default_factory), vars(obj), None, iter(dict.items(obj))
        if isinstance(obj, _PRIVATE_KEYS):
            form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            return _private_key, (obj.private_bytes(*form),)
        return NotImplemented


def _private_key(der: bytes) -> Any:
    return serialization.load_der_private_key(der, None)


def _new_defaultdict(kind: Any, factory: Any) -> Any:
    instance = kind.__new__(kind)
    defaultdict.__init__(instance, factory)
    return instance


def _tags_factory() -> Callable[[], defaultdict[str, dict[str, str]]]:
    return _dict_of_dicts


def _dict_of_dicts() -> defaultdict[str, dict[str, str]]:
    return defaultdict(dict)


def _pickled(state: Callable[[], Mapping[str, Any]]) -> bytes:
    """Pickle the state, again if another request changes it meanwhile; that request saves it, too."""
    for attempt in range(_MAX_ATTEMPTS):
        buffer = io.BytesIO()
        pickle.dump(_versions(), buffer)
        try:
            _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(state())
            break
        except RuntimeError:
            # "dictionary changed size during iteration"
            if attempt == _MAX_ATTEMPTS - 1:
                raise
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise StateError(f"the request leaves something that can't be kept: {error}") from error
    return buffer.getvalue()


def _versions() -> str:
    return f"format {_FORMAT}, moto {moto.__version__}, Python {platform.python_version()}"
