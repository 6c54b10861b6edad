"""References to the values of secret variables. The values are in no script, plan or state file."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECRET, PARAMETER, GIVEN = "secretsmanager", "ssm", "given"
# A secret's name: Secrets Manager API reference, CreateSecret; a parameter's: SSM API reference, PutParameter.
_FORMS = {
    SECRET: re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}"),
    PARAMETER: re.compile(r"/[A-Za-z0-9_./-]{1,1010}(:[A-Za-z0-9_.-]+)?"),
    GIVEN: re.compile(r"[0-9A-Za-z-]{8,64}"),
}
_VERSION = re.compile(r"[0-9A-Za-z-]{32,64}")


@dataclass(frozen=True)
class Reference:
    """Where a value is: `place` is a secret's ARN, a parameter's name, or the run that a value is given for.

    A given value is on the machine for that run only.
    """

    kind: str
    place: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The inverse of `str`. Raises ValueError for text that is not a reference."""
        kind, _, rest = text.partition(":")
        place, _, version = rest.partition("#")
        if kind not in _FORMS or not _FORMS[kind].fullmatch(place) or (version and not _VERSION.fullmatch(version)):
            # The message omits the text: it may be the secret itself.
            raise ValueError("its value is not a reference to a secret")
        return cls(kind, place, version)

    @property
    def text(self) -> str:
        """The reference without its version."""
        return f"{self.kind}:{self.place}"

    @property
    def run(self) -> str:
        """The run that the value is given for; empty for a value in AWS."""
        return self.place if self.kind == GIVEN else ""

    def __str__(self) -> str:
        return f"{self.text}#{self.version}" if self.version else self.text


def is_reference(text: str) -> bool:
    """Whether a user's text refers to a value in AWS."""
    return text.startswith((f"{SECRET}:", f"{PARAMETER}:/"))
