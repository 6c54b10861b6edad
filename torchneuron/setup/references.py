"""Where the machine gets a secret variable's value from. The value itself is in no script, plan or state."""

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
    """`kind` of the value's place, its `place`, and the version to read there, where one is known.

    A value `given` by the operator is on the machine for one run; `place` is the run's name.
    """

    kind: str
    place: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `str` of it gives. ValueError for what is none."""
        kind, _, rest = text.partition(":")
        place, _, version = rest.partition("#")
        if kind not in _FORMS or not _FORMS[kind].fullmatch(place) or (version and not _VERSION.fullmatch(version)):
            raise ValueError("its value is no reference to a secret")  # the text may be the secret itself
        return cls(kind, place, version)

    @property
    def text(self) -> str:
        """Without the version."""
        return f"{self.kind}:{self.place}"

    @property
    def run(self) -> str:
        """The run that the value is given for; empty for a value that AWS keeps."""
        return self.place if self.kind == GIVEN else ""

    def __str__(self) -> str:
        return f"{self.text}#{self.version}" if self.version else self.text


def is_reference(text: str) -> bool:
    """Whether a text says where AWS keeps a secret, as a person may write it."""
    return text.startswith((f"{SECRET}:", f"{PARAMETER}:/"))
