"""Search results for the tests of `cb.search`."""

from datetime import timedelta
from decimal import Decimal

from tests.unit.capacity_fakes import REGION, START
from tests.unit.offerings_support import REQUEST, block
from torchneuron.capacity_blocks.query import Query
from torchneuron.capacity_blocks.refusals import NotSoldError, Refusal
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.capacity_blocks.search import Results
from torchneuron.capacity_blocks.suggestions import Suggestion
from torchneuron.core.errors import AwsError

ELSEWHERE = SearchRequest("trn2.3xlarge", 24, 1, "us-east-2")
NOT_SOLD = Refusal(ELSEWHERE, NotSoldError("AWS does not sell trn2.3xlarge as Capacity Blocks in us-east-2."))
SEGMENTED = SearchRequest("trn1.32xlarge", 24, 20, "us-west-2")
SEVERAL_SEGMENTS = "It has several segments, each its own reservation; invoke deploy launches on one reservation."
LIMITED = Refusal(ELSEWHERE, AwsError("No further.", code="CapacityBlockDescribeLimitExceeded", why="Too fast."))

ONE = Results(Query((REGION,), ("trn2.3xlarge",), (24,)), (REGION,), (block("cb-0123456789abcdef0"),))
EVERYTHING = Results(
    Query((REGION, "us-east-2"), ("trn2.3xlarge",), (24, 48), max_price=Decimal(110)),
    (REGION, "us-east-2"),
    (
        block("cb-0123456789abcdef1", start=START + timedelta(days=5), hours=48, fee="107.28"),
        block("cb-0123456789abcdef0"),
        # A block that starts at another time than 11:30 UTC is paid by the minute.
        block(
            "cb-0123456789abcdef2",
            start=START + timedelta(days=1, hours=-3, minutes=-15),
            end=START + timedelta(days=2),
            duration=timedelta(hours=27, minutes=15),
            fee="64.00",
            zone="sa-east-1-bue-1a",
            zone_type="local-zone",
        ),
    ),
    dearer=(block("cb-0123456789abcdef3", fee="120.00"),),
    refused=(NOT_SOLD, Refusal(SearchRequest("trn2.3xlarge", 48, 1, "us-east-2"), LIMITED.error)),
)
UNSUPPORTED = Results(
    Query(("us-west-2",), ("trn1.32xlarge",), (24,), count=20),
    ("us-west-2",),
    (),
    unsupported=(
        block(instance_type="trn1.32xlarge", count=20, search=SEGMENTED, unsupported_reason=SEVERAL_SEGMENTS),
        block("cb-0123456789abcdef4", search=SEGMENTED, unsupported_reason=SEVERAL_SEGMENTS),
    ),
)
NOTHING = Results(Query((REGION,), ("trn2.3xlarge",), (24,), count=4), (REGION,), ())
SUGGESTED = Results(
    Query((REGION,), ("trn2.3xlarge",), (24,), count=4),
    (REGION,),
    (),
    suggestions=(
        Suggestion(SearchRequest("trn2.3xlarge", 48, 4, REGION), block(hours=48, fee="429.12", count=4)),
        Suggestion(REQUEST, block()),
        Suggestion(SearchRequest("trn2.3xlarge", 24, 4, "us-east-2"), block(fee="214.56", count=4)),
    ),
)
RESULTS = {
    "one": ONE,
    "everything": EVERYTHING,
    "unsupported": UNSUPPORTED,
    "nothing": NOTHING,
    "suggested": SUGGESTED,
}
