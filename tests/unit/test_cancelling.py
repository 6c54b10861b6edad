import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import REGION, refusal
from tests.unit.reservations_support import ACTIVE, EVERY, ON_DEMAND, KnowingEc2, everything
from torchneuron.capacity_blocks import cancelling
from torchneuron.capacity_blocks.cancelling import NeverCancelledError
from torchneuron.core.errors import AccessError, AwsError, Declined, InputError

ID = ON_DEMAND["CapacityReservationId"]
BLOCKS = sorted(EVERY.keys() - {"on-demand"})


def in_state(state):
    return KnowingEc2({**ON_DEMAND, "State": state})


def cancel(ec2, reservation_id=ID, *, agreed=lambda _: True):
    return cancelling.cancel(ec2, REGION, reservation_id, agreed=agreed)


def never_asked(_):
    raise AssertionError("this needs no answer")


def never(ec2, name):
    with pytest.raises(NeverCancelledError) as refused:
        cancel(ec2, EVERY[name]["CapacityReservationId"], agreed=never_asked)
    return refused.value


@pytest.mark.parametrize("state", ["active", "pending", "scheduled", "assessing", "delayed"])
def test_an_on_demand_reservation_is_cancelled_after_a_yes(state):
    ec2 = in_state(state)
    after, done = cancel(ec2)
    assert (after.state, done) == ("cancelled", True)
    assert ec2.operations().count("CancelCapacityReservation") == 1


def test_it_stays_after_a_no():
    ec2 = in_state("active")
    with pytest.raises(Declined):
        cancel(ec2, agreed=lambda _: False)
    assert "CancelCapacityReservation" not in ec2.operations()


@pytest.mark.parametrize("state", ["cancelled", "cancelling", "expired", "failed", "unsupported"])
def test_what_has_ended_already_is_left_alone_without_a_question(state):
    ec2 = in_state(state)
    after, done = cancel(ec2, agreed=never_asked)
    assert (after.state, done) == (state, False)
    assert ec2.operations() == ["DescribeCapacityReservations"]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_capacity_block_is_told_the_truth_about_by_calls_that_only_describe(name, in_zone):
    in_zone("BRT+3")
    ec2 = everything()
    refused = never(ec2, name)
    assert refused.exit_status == 1
    assert all(operation.startswith("Describe") for operation in ec2.operations())
    golden.check(f"cancel-{name}.txt", f"{refused}\n")


def test_what_was_paid_for_extensions_is_said_to_be_unknown_where_it_may_not_be_read(in_zone):
    ec2 = everything()
    ec2.denied = {"DescribeCapacityBlockExtensionHistory"}
    assert "the permission ec2:DescribeCapacityBlockExtensionHistory is missing" in never(ec2, "active").why


def test_a_block_that_ec2_gave_no_arn_still_has_the_command_that_shares_it():
    bare = {key: value for key, value in ACTIVE.items() if key not in ("CapacityReservationArn", "OwnerId")}
    arn = f"arn:aws:ec2:sa-east-1:OWNER-ID:capacity-reservation/{ACTIVE['CapacityReservationId']}"
    assert f"--resource-arns {arn} --principals ACCOUNT-ID" in never(KnowingEc2(bare), "active").do


def test_a_commitment_needs_a_quote_and_that_is_told():
    ec2 = in_state("scheduled")
    ec2.cancel_error = refusal("OperationNotPermitted", "A quote is required.")
    with pytest.raises(AwsError, match=f"{ID} was not cancelled: it is scheduled") as refused:
        cancel(ec2)
    assert refused.value.code == "OperationNotPermitted"
    assert "A quote is required." in refused.value.why
    assert "quote" in refused.value.do


def test_a_permission_that_is_missing_is_named():
    ec2 = in_state("active")
    ec2.cancel_error = refusal(
        "UnauthorizedOperation", "not authorized to perform: ec2:CancelCapacityReservation on it"
    )
    with pytest.raises(AccessError, match="ec2:CancelCapacityReservation"):
        cancel(ec2)


def test_one_that_ended_while_it_was_cancelled_is_cancelled():
    ec2 = in_state("active")

    def agreed(_):
        ec2.reservations[0]["State"] = "cancelled"
        ec2.cancel_error = refusal("InvalidCapacityReservationState", "It is cancelled.")
        return True

    assert cancel(ec2, agreed=agreed)[0].state == "cancelled"


def test_a_fault_of_awss_own_is_settled_by_looking():
    ec2 = in_state("active")
    ec2.cancel_error = refusal("InternalError", "Oops.", 500)
    with pytest.raises(AwsError, match="was not cancelled: it is active"):
        cancel(ec2)


def test_what_was_cancelled_is_told_even_if_it_cannot_be_looked_at_again():
    ec2 = in_state("active")
    cancelled = ec2.cancel_capacity_reservation

    def cancel_and_expire(**request):
        ec2.describe_capacity_reservations = expired
        return cancelled(**request)

    def expired(**_):
        raise refusal("RequestExpired")

    ec2.cancel_capacity_reservation = cancel_and_expire
    with pytest.raises(AwsError, match=f"{ID} was cancelled, but could not be looked at again") as told:
        cancel(ec2)
    assert (type(told.value), told.value.exit_status) == (AwsError, 1)


def test_nobody_to_ask_cancels_nothing():
    def nobody(_):
        raise InputError("no terminal")

    ec2 = in_state("active")
    with pytest.raises(InputError):
        cancel(ec2, agreed=nobody)
    assert "CancelCapacityReservation" not in ec2.operations()
