"""The password of a setup: which one it is, and how the machines get it."""

from __future__ import annotations

import getpass
import sys
import uuid
from dataclasses import dataclass, field

from torchneuron.aws.session import Aws
from torchneuron.core import display
from torchneuron.core.errors import InputError
from torchneuron.setup import passwords
from torchneuron.setup.delivery import Given
from torchneuron.setup.references import GIVEN, SECRET, Reference


@dataclass(frozen=True)
class PasswordSource:
    """Where the password comes from: at most one of the three; none means the deployment's own secret.

    `password` is the password itself, or True when it is to be asked for.
    """

    secret_arn: str = ""
    password: str | bool = field(default="", repr=False)
    random: bool = False

    @property
    def new(self) -> bool:
        """Whether it is a password that no secret has yet."""
        return bool(self.password or self.random)

    @property
    def is_given(self) -> bool:
        """Whether it is from elsewhere than the deployment's own secret."""
        return bool(self.secret_arn or self.new)

    def check(self) -> None:
        if sum(map(bool, (self.secret_arn, self.password, self.random))) > 1:
            raise InputError("Give one of --secret-arn, --password and --random-password, not several.")


def stored(aws: Aws, secret: str) -> Reference:
    """The password in a secret that the machines can read, in its present version."""
    return Reference(SECRET, secret, passwords.current_version(aws.secrets(), secret))


def place(source: PasswordSource, secret: str, aws: Aws, *, own: bool, dry_run: bool) -> tuple[Reference, Given | None]:
    """Where the machines get the password, and what has to be delivered to them for that.

    Machines of the deployment (`own`) read its secret, which a new password is written to first. For others, and from
    another secret, it is read here.
    """
    if source.secret_arn not in ("", secret) or not own:
        if source.new:
            text, run = _new_password(source, shown=True, dry_run=dry_run), uuid.uuid4().hex
        else:
            found = passwords.read_secret(aws.secrets(), source.secret_arn or secret)
            text, run = found.text, found.version
        passwords.check_strength(text)
        return Reference(GIVEN, run), Given(run, {"PASSWORD": text})
    if source.new and dry_run:
        display.note("A dry run writes no password: it shows what a new one would run.")
        return Reference(SECRET, secret), None
    if source.new:
        version = passwords.store(aws.secrets(), secret, _new_password(source, shown=False, dry_run=False))
        display.note(f"The deployment's secret has the new password: invoke password -r {aws.region}")
        return Reference(SECRET, secret, version), None
    return stored(aws, secret), None


def _new_password(source: PasswordSource, *, shown: bool, dry_run: bool) -> str:
    if source.random:
        text = passwords.random_password()
        if dry_run:
            display.note("A dry run makes no password: it shows what a new one would run.")
        elif shown:
            display.note(f"Password (shown this once): {text}")
        return text
    if source.password is True:
        return _typed()
    display.warn("a password in a command line is seen by others on this machine, and kept in the shell's history.")
    return str(source.password)


def _typed() -> str:
    if not sys.stdin.isatty():
        raise InputError("There is no terminal to ask for the password on.", do="Use --secret-arn.")
    password = getpass.getpass("Password for code-server: ")
    if getpass.getpass("Once more: ") != password:
        raise InputError("The two passwords differ.")
    return password
