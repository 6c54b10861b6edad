"""Payments of purchases.

Source: EC2 user guide, "Capacity Blocks billing" and "Extend Capacity Blocks": AWS charges within 12 hours, and for an
extension also by 35 minutes before the block's end; otherwise the purchase fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Status = Literal["payment-pending", "payment-failed", "payment-succeeded"]

MAX_PAYMENT_TIME = timedelta(hours=12)


@dataclass(frozen=True)
class Payment:
    """A payment that succeeds or `fails` after `duration`. It also fails if it takes longer than until `deadline`."""

    started: datetime
    duration: timedelta
    fails: bool
    deadline: datetime

    def status(self, now: datetime) -> Status:
        done = self.started + self.duration
        if now < min(done, self.deadline):
            return "payment-pending"
        return "payment-failed" if self.fails or done > self.deadline else "payment-succeeded"
