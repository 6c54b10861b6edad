"""What fakes of AWS's clients derive from, so that mypy lets a test pass them where a client is expected."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    StandIn: Any
else:
    StandIn = object
