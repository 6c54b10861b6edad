"""What a search asks for: known to the search, to what AWS says of it, and to what is shown of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SearchRequest:
    """What is searched for: `count` instances of a type, for `duration_hours` in one go, in one region.

    With an `ultraserver_type`, `count` UltraServers, and no instance type. The block starts between `start_after`
    and `start_before`, aware, both included. `all_zones`: also zones the account has not opted in to.
    """

    instance_type: str
    duration_hours: int
    count: int
    region: str
    ultraserver_type: str = ""
    start_after: datetime | None = None
    start_before: datetime | None = None
    all_zones: bool = False

    @property
    def what(self) -> str:
        """The type searched for, of instance or of UltraServer."""
        return self.ultraserver_type or self.instance_type
