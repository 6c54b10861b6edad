import pytest

from tests.unit.capacity_fakes import REGION, refusal
from tests.unit.reservations_support import ACTIVE, EXPIRED, ON_DEMAND, PENDING, DetailedEc2, everything
from torchneuron.capacity_blocks import details
from torchneuron.capacity_blocks.details import Unreadable
from torchneuron.core.errors import AccessError, NotFoundError

ID = ACTIVE["CapacityReservationId"]


def test_list_makes_one_call_for_each_kind_of_data():
    ec2 = everything()
    details.list_blocks(ec2, REGION)
    assert ec2.operations() == ["DescribeCapacityReservations", "DescribeInstances", "DescribeCapacityBlockStatus"]
    (asked,) = ec2.calls[1][1]["Filters"]
    assert asked["Name"] == "capacity-reservation-id"
    assert ID in asked["Values"]
    assert EXPIRED["CapacityReservationId"] not in asked["Values"]


def test_list_of_ended_blocks_makes_one_call():
    ec2 = DetailedEc2(EXPIRED)
    (found,) = details.list_blocks(ec2, REGION)
    assert (found.instances, found.health) == ((), None)
    assert ec2.operations() == ["DescribeCapacityReservations"]


def test_only_instances_on_the_reservation_count():
    found = details.describe(everything(), REGION, ID)
    assert [(instance.instance_id[-2:], instance.state) for instance in found.instances] == [
        ("03", "pending"),
        ("14", "running"),
    ]


def test_each_block_has_its_own_health():
    by_id = {found.reservation.id: found.health for found in details.list_blocks(everything(), REGION)}
    assert (by_id[ID].interconnect, by_id[ID].unavailable) == ("impaired", 1)
    assert by_id[PENDING["CapacityReservationId"]] is None


def test_on_demand_reservation_has_neither_health_nor_extensions():
    ec2 = everything()
    found = details.describe(ec2, REGION, ON_DEMAND["CapacityReservationId"])
    assert (found.health, found.extensions, found.extension_window) == (None, None, None)
    assert ec2.operations() == ["DescribeCapacityReservations", "DescribeInstances"]


def test_missing_permission_is_named_in_place_of_the_data():
    ec2 = everything()
    ec2.denied = {"DescribeInstances"}
    found = details.describe(ec2, REGION, ID)
    assert str(found.instances) == "not readable: the permission ec2:DescribeInstances is missing"
    assert found.health.interconnect == "impaired"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("RequestLimitExceeded", "Too fast."), "AWS throttles requests of this kind"),
        (refusal("InternalError", "Oops.", 500), "AWS reported an internal error"),
        (KeyError("Reservations"), "unexpected response from AWS"),
    ],
)
def test_error_of_an_extra_call_is_shown_in_place_of_the_data(error, why):
    ec2 = everything()

    def refuse(**_):
        raise error

    ec2._pages_of_describe_instances = refuse
    ec2._pages_of_describe_capacity_block_extension_history = refuse
    found = details.describe(ec2, REGION, ID)
    assert found.instances == found.extensions == Unreadable(why)


def test_unreadable_reservation_is_an_error():
    ec2 = everything()

    def deny():
        raise refusal("UnauthorizedOperation")

    ec2.on_describe = deny
    with pytest.raises(AccessError):
        details.list_blocks(ec2, REGION)
    with pytest.raises(AccessError):
        details.describe(ec2, REGION, ID)


def test_unknown_reservation_is_an_error():
    with pytest.raises(NotFoundError):
        details.describe(DetailedEc2(), REGION, ID)
