"""What several functional tests of the rehearsal need."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

AMI_PARAMETER = "/aws/service/neuron/dlami/multi-framework/ubuntu-24.04/latest/image_id"


def refusal(call, **arguments) -> str:
    """The error code AWS refuses the call with; it has to."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def eventually(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until it holds; fail when it doesn't within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"did not come to hold within {seconds} s"
        time.sleep(0.02)
