"""Helpers for the functional tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest
from botocore.exceptions import ClientError

AMI_PARAMETER = "/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id"


class DatetimeReplacement(type):
    """The metaclass of replacements for datetime, so that `isinstance` still accepts every datetime."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


def refusal(call, **arguments) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def eventually(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(0.02)
