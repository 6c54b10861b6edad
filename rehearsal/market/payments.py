"""When a purchase is paid, or fails to be. Pure.

Source: EC2 user guide, "Capacity Blocks billing" and "Extend Capacity Blocks": charged within 12 hours, for an
extension also by 35 minutes before the block's end, or the purchase has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Status = Literal["payment-pending", "payment-failed", "payment-succeeded"]

LONGEST = timedelta(hours=12)


@dataclass(frozen=True)
class Payment:
    """A charge under way since `asked`. It comes through, or bounces, after `lasts`, and fails after `deadline`."""

    asked: datetime
    lasts: timedelta
    bounces: bool
    deadline: datetime

    def status(self, now: datetime) -> Status:
        done = self.asked + self.lasts
        if now < min(done, self.deadline):
            return "payment-pending"
        return "payment-failed" if self.bounces or done > self.deadline else "payment-succeeded"
