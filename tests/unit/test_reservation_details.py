import pytest

from tests.unit.capacity_fakes import REGION, refusal
from tests.unit.reservations_support import ACTIVE, EXPIRED, ON_DEMAND, PENDING, KnowingEc2, everything
from torchneuron.capacity_blocks import details
from torchneuron.capacity_blocks.details import Unreadable
from torchneuron.core.errors import AccessError, NotFoundError

ID = ACTIVE["CapacityReservationId"]


def test_a_list_takes_one_call_for_each_thing_however_many_blocks_there_are():
    ec2 = everything()
    details.of_blocks(ec2, REGION)
    assert ec2.operations() == ["DescribeCapacityReservations", "DescribeInstances", "DescribeCapacityBlockStatus"]
    (asked,) = ec2.calls[1][1]["Filters"]
    assert asked["Name"] == "capacity-reservation-id"
    assert ID in asked["Values"]
    assert EXPIRED["CapacityReservationId"] not in asked["Values"]


def test_where_all_are_gone_nothing_more_is_asked():
    ec2 = KnowingEc2(EXPIRED)
    (one,) = details.of_blocks(ec2, REGION)
    assert (one.instances, one.health) == ((), None)
    assert ec2.operations() == ["DescribeCapacityReservations"]


def test_only_instances_on_the_reservation_count_whatever_the_endpoint_filters():
    found = details.of_one(everything(), REGION, ID)
    assert [(one.id[-2:], one.state) for one in found.instances] == [("03", "pending"), ("14", "running")]


def test_each_block_has_its_own_health():
    by_id = {one.reservation.id: one.health for one in details.of_blocks(everything(), REGION)}
    assert (by_id[ID].interconnect, by_id[ID].unavailable) == ("impaired", 1)
    assert by_id[PENDING["CapacityReservationId"]] is None


def test_an_on_demand_reservation_has_neither_health_nor_extensions():
    ec2 = everything()
    found = details.of_one(ec2, REGION, ON_DEMAND["CapacityReservationId"])
    assert (found.health, found.extensions, found.extension_window) == (None, None, None)
    assert ec2.operations() == ["DescribeCapacityReservations", "DescribeInstances"]


def test_what_may_not_be_read_is_said_with_the_permission():
    ec2 = everything()
    ec2.denied = {"DescribeInstances"}
    found = details.of_one(ec2, REGION, ID)
    assert str(found.instances) == "not readable: the permission ec2:DescribeInstances is missing"
    assert found.health.interconnect == "impaired"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("RequestLimitExceeded", "Too fast."), "AWS takes no more requests of this kind for now"),
        (refusal("InternalError", "Oops.", 500), "AWS answered with a fault of its own"),
        (KeyError("Reservations"), "AWS's answer makes no sense"),
    ],
)
def test_whatever_else_goes_wrong_with_an_extra_is_said_in_its_place(error, why):
    ec2 = everything()

    def refuse(**_):
        raise error

    ec2._pages_of_describe_instances = refuse
    ec2._pages_of_describe_capacity_block_extension_history = refuse
    found = details.of_one(ec2, REGION, ID)
    assert found.instances == found.extensions == Unreadable(why)


def test_the_reservation_itself_has_to_be_readable():
    ec2 = everything()

    def deny():
        raise refusal("UnauthorizedOperation")

    ec2.on_describe = deny
    with pytest.raises(AccessError):
        details.of_blocks(ec2, REGION)
    with pytest.raises(AccessError):
        details.of_one(ec2, REGION, ID)


def test_an_unknown_reservation_is_told():
    with pytest.raises(NotFoundError):
        details.of_one(KnowingEc2(), REGION, ID)
