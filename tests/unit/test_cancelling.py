import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import REGION, refusal
from tests.unit.reservations_support import ACTIVE, EVERY, ON_DEMAND, DetailedEc2, everything
from torchneuron.capacity_blocks import cancelling
from torchneuron.capacity_blocks.cancelling import NotCancellableError
from torchneuron.core.errors import AccessError, AwsError, Declined, InputError

ID = ON_DEMAND["CapacityReservationId"]
BLOCKS = sorted(EVERY.keys() - {"on-demand"})


def in_state(state):
    return DetailedEc2({**ON_DEMAND, "State": state})


def cancel(ec2, reservation_id=ID, *, approve=lambda _: True):
    return cancelling.cancel(ec2, REGION, reservation_id, approve=approve)


def never_asked(_):
    raise AssertionError("asked without need")


def refusal_of(ec2, name):
    with pytest.raises(NotCancellableError) as refused:
        cancel(ec2, EVERY[name]["CapacityReservationId"], approve=never_asked)
    return refused.value


@pytest.mark.parametrize("state", ["active", "pending", "scheduled", "assessing", "delayed"])
def test_on_demand_reservation_is_cancelled_after_approval(state):
    ec2 = in_state(state)
    after, changed = cancel(ec2)
    assert (after.state, changed) == ("cancelled", True)
    assert ec2.operations().count("CancelCapacityReservation") == 1


def test_declined_cancellation_changes_nothing():
    ec2 = in_state("active")
    with pytest.raises(Declined):
        cancel(ec2, approve=lambda _: False)
    assert "CancelCapacityReservation" not in ec2.operations()


@pytest.mark.parametrize("state", ["cancelled", "cancelling", "expired", "failed", "unsupported"])
def test_ended_reservation_is_left_alone_without_a_question(state):
    ec2 = in_state(state)
    after, changed = cancel(ec2, approve=never_asked)
    assert (after.state, changed) == (state, False)
    assert ec2.operations() == ["DescribeCapacityReservations"]


@pytest.mark.parametrize("name", BLOCKS)
def test_capacity_block_is_refused_by_describe_calls_only(name, in_zone):
    in_zone("BRT+3")
    ec2 = everything()
    refused = refusal_of(ec2, name)
    assert refused.exit_status == 1
    assert all(operation.startswith("Describe") for operation in ec2.operations())
    golden.check(f"cancel-{name}.txt", f"{refused}\n")


def test_unreadable_extensions_are_named_in_the_refusal(in_zone):
    ec2 = everything()
    ec2.denied = {"DescribeCapacityBlockExtensionHistory"}
    assert "the permission ec2:DescribeCapacityBlockExtensionHistory is missing" in refusal_of(ec2, "active").why


def test_block_without_an_arn_has_the_command_that_shares_it():
    bare = {key: value for key, value in ACTIVE.items() if key not in ("CapacityReservationArn", "OwnerId")}
    arn = f"arn:aws:ec2:sa-east-1:OWNER-ID:capacity-reservation/{ACTIVE['CapacityReservationId']}"
    assert f"--resource-arns {arn} --principals ACCOUNT-ID" in refusal_of(DetailedEc2(bare), "active").do


def test_refused_cancellation_of_a_commitment_mentions_the_quote():
    ec2 = in_state("scheduled")
    ec2.cancel_error = refusal("OperationNotPermitted", "A quote is required.")
    with pytest.raises(AwsError, match=f"{ID} was not cancelled: it is scheduled") as refused:
        cancel(ec2)
    assert refused.value.code == "OperationNotPermitted"
    assert "A quote is required." in refused.value.why
    assert "quote" in refused.value.do


def test_missing_permission_is_named():
    ec2 = in_state("active")
    ec2.cancel_error = refusal(
        "UnauthorizedOperation", "not authorized to perform: ec2:CancelCapacityReservation on it"
    )
    with pytest.raises(AccessError, match="ec2:CancelCapacityReservation"):
        cancel(ec2)


def test_reservation_that_ends_during_the_cancellation_counts_as_cancelled():
    ec2 = in_state("active")

    def approve(_):
        ec2.reservations[0]["State"] = "cancelled"
        ec2.cancel_error = refusal("InvalidCapacityReservationState", "It is cancelled.")
        return True

    assert cancel(ec2, approve=approve)[0].state == "cancelled"


def test_server_error_is_settled_by_looking():
    ec2 = in_state("active")
    ec2.cancel_error = refusal("InternalError", "Oops.", 500)
    with pytest.raises(AwsError, match="was not cancelled: it is active"):
        cancel(ec2)


def test_cancellation_is_reported_when_its_state_cannot_be_read():
    ec2 = in_state("active")
    cancelled = ec2.cancel_capacity_reservation

    def cancel_and_expire(**request):
        ec2.describe_capacity_reservations = expired
        return cancelled(**request)

    def expired(**_):
        raise refusal("RequestExpired")

    ec2.cancel_capacity_reservation = cancel_and_expire
    with pytest.raises(AwsError, match=f"{ID} was cancelled, but its state could not be read") as failed:
        cancel(ec2)
    assert (type(failed.value), failed.value.exit_status) == (AwsError, 1)


def test_cancellation_without_a_terminal_changes_nothing():
    def nobody(_):
        raise InputError("no terminal")

    ec2 = in_state("active")
    with pytest.raises(InputError):
        cancel(ec2, approve=nobody)
    assert "CancelCapacityReservation" not in ec2.operations()
