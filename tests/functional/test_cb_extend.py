"""`invoke cb.extend` against the rehearsal: the window, the price, the purchase, the new end."""

from datetime import timedelta

import pytest

REGION = "sa-east-1"


@pytest.fixture
def extend(invoke, bought):
    def run(*more, status=0):
        more = more if "-d" in more else ("-d", "24", *more)
        return invoke("cb.extend", "--reservation-id", bought, "-r", REGION, *more, status=status)

    return run


@pytest.fixture
def end(ec2, bought):
    def look():
        (block,) = ec2.describe_capacity_reservations(CapacityReservationIds=[bought])["CapacityReservations"]
        return block["EndDate"]

    return look


@pytest.fixture
def extensions(ec2):
    return lambda: ec2.describe_capacity_block_extension_history()["CapacityBlockExtensions"]


def saved_end(ssm):
    return ssm.get_parameter(Name=f"/capacity-block/{REGION}/end")["Parameter"]["Value"]


def test_extension_is_bought_and_the_new_end_saved(extend, end, ssm, bought):
    before = end()
    done = extend("-d", "48", "--yes")
    assert end() == before + timedelta(hours=48)
    assert "107.28 USD" in done.out
    assert f"{bought} now ends at {end():%Y-%m-%d} 11:30" in done.out
    assert saved_end(ssm) == f"{end():%Y-%m-%dT%H:%M:%SZ}"


def test_second_extension_is_bought_after_the_first(extend, end, extensions):
    before = end()
    extend("--yes")
    extend("--yes")
    assert end() == before + timedelta(hours=48)
    assert len(extensions()) == 2


def test_other_saved_block_keeps_its_end(extend, ssm):
    name = f"/capacity-block/{REGION}/reservation-id"
    ssm.put_parameter(Name=name, Value="cr-0123456789abcdef0", Overwrite=True, Type="String")
    before = saved_end(ssm)
    extend("--yes")
    assert saved_end(ssm) == before


def test_extension_without_saving_keeps_the_saved_end(extend, ssm):
    before = saved_end(ssm)
    extend("--yes", "--no-save")
    assert saved_end(ssm) == before


def test_end_that_cannot_be_saved_is_reported_as_bought(extend, extensions, fail):
    fail("PutParameter", "error", times=None, code="AccessDeniedException")
    failed = extend("--yes", status=1)
    assert "is extended, but its new end was not saved" in failed.err
    assert "invoke cb.save-params --reservation-id cr-" in failed.err
    assert len(extensions()) == 1


def test_extension_without_a_terminal_buys_nothing(extend, extensions):
    assert "Add --yes" in extend(status=2).err
    assert extensions() == []


def test_dry_run_buys_nothing(extend, extensions):
    assert "It is on sale, and you may buy it (dry run). Nothing was bought." in extend("--dry-run").out
    assert extensions() == []


def test_price_above_the_limit_is_refused(extend, extensions):
    assert "more than --max-price 50" in extend("--yes", "--max-price", "50", status=2).err
    assert extensions() == []


def test_extension_window_is_checked_first(extend, end, move_clock, extensions):
    move_clock(end() - timedelta(minutes=59))
    refused = extend("--yes", status=2)
    assert "can no longer be extended: AWS sells extensions until 1 hour before a block's end" in refused.err
    assert extensions() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-d", "25"], "AWS sells no Capacity Block of 25 hours"),
        (["-d", "a day"], "is not a whole number"),
        (["--max-price", "much"], "is not a price"),
    ],
)
def test_bad_input_is_refused_before_any_call(extend, options, message, fail):
    fail("DescribeCapacityReservations", "server-error", times=None)
    assert message in extend("--yes", *options, status=2).err


@pytest.mark.parametrize("reservation", ["", "cr-", "i-0123456789abcdef0", "cr-0123456789abcdef0; rm -rf /"])
def test_invalid_id_is_refused(invoke, reservation):
    refused = invoke("cb.extend", "--reservation-id", reservation, "-d", "24", "-r", REGION, "--yes", status=2)
    assert "--reservation-id" in refused.err


def test_unknown_block_is_reported(invoke):
    unknown = "cr-0123456789abcdef0"
    assert unknown in invoke("cb.extend", "--reservation-id", unknown, "-d", "24", "-r", REGION, "--yes", status=2).err


@pytest.mark.parametrize("kind", ["lost-after", "server-error-after"])
def test_extension_is_not_repeated_when_the_response_is_lost(extend, end, extensions, fail, kind):
    before = end()
    fail("PurchaseCapacityBlockExtension", kind)
    extend("--yes")
    assert len(extensions()) == 1
    assert end() == before + timedelta(hours=24)


def test_failed_payment_says_what_it_means(extend, end, control):
    before = end()
    control("market", {"payment_outcome": "failed"})
    failed = extend("--yes", status=1)
    assert "was not extended: the payment failed" in failed.err
    assert end() == before
