"""The base class of fake AWS clients: mypy accepts them where a client is expected."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    StandIn: Any
else:
    StandIn = object
