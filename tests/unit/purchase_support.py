"""A purchase for tests: the request, the user's answer, the command."""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ReadTimeoutError
from botocore.parsers import ResponseParserError

from tests.unit.capacity_fakes import NOW, REGION, refusal
from torchneuron.capacity_blocks.purchase import purchase
from torchneuron.capacity_blocks.purchase_request import PurchaseRequest
from torchneuron.capacity_blocks.rules import SearchRequest

REQUEST = PurchaseRequest("cb-1", SearchRequest("trn2.3xlarge", 24, 1, REGION), "a-project", Path("state"))
INTENT = "trn2.3xlarge/1/sa-east-1b/2026-01-12T11:30Z/2026-01-13T11:30Z"
LOST = [
    ReadTimeoutError(endpoint_url="https://ec2"),
    refusal("InternalError", status=500),
    refusal("Unavailable", status=503),
    ResponseParserError("not XML"),
    ValueError("Invalid timestamp"),
    KeyboardInterrupt(),
]


class Approval:
    def __init__(self, answer=True):
        self.answer, self.seen = answer, []

    def __call__(self, offering):
        self.seen.append(offering)
        return self.answer


def buy(ec2, request=REQUEST, approve=None, sleep=lambda _: None, at=NOW):
    return purchase(ec2, ec2, request, approve=approve or Approval(), sleep=sleep, now=lambda: at)


def bought_times(ec2):
    return ec2.operations().count("PurchaseCapacityBlock")


def noted():
    return sorted(Path("state").glob("purchase-*"))
