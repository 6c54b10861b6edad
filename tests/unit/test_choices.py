"""What a second deploy takes from the first, and what it does not."""

import pytest

from torchneuron.core.errors import InputError
from torchneuron.deploy.memory import merged, of_kept_data, remembered, summary, without_place

ON_BLOCK = {
    "instanceType": "trn2.3xlarge",
    "volumeSize": 500,
    "dataVolumeSize": 100,
    "count": 2,
    "useCapacityBlock": True,
    "capacityReservationId": "cr-1",
    "subnetId": "subnet-1",
}


def test_a_deployment_from_before_there_was_a_memory_remembers_nothing():
    assert remembered({"region": "sa-east-1"}) == {}
    assert remembered({"choices": ON_BLOCK}) == ON_BLOCK


def test_an_option_left_out_is_as_before():
    assert merged(ON_BLOCK, {}) == ON_BLOCK
    assert merged(ON_BLOCK, {"useCapacityBlock": True, "volumeSize": 640}) == {**ON_BLOCK, "volumeSize": 640}


def test_another_block_does_not_take_the_subnet_of_the_one_before():
    assert "subnetId" not in merged(ON_BLOCK, {"useCapacityBlock": True, "capacityReservationId": "cr-2"})
    assert merged(ON_BLOCK, {"capacityReservationId": "cr-1"})["subnetId"] == "subnet-1"
    assert merged(ON_BLOCK, {"capacityReservationId": "cr-2", "subnetId": "subnet-2"})["subnetId"] == "subnet-2"


def test_from_on_demand_to_a_block_and_back():
    on_demand = {"useCapacityBlock": False, "subnetId": "subnet-1"}
    assert merged(on_demand, {"useCapacityBlock": True}) == {"useCapacityBlock": True}
    back = merged(ON_BLOCK, {"useCapacityBlock": False})
    assert "capacityReservationId" not in back
    assert back["subnetId"] == "subnet-1"


def test_addresses_named_anew_take_back_the_leave_to_name_everyone():
    world = {"allowedIps": ["0.0.0.0/0"], "openToWorld": True}
    assert merged(world, {}) == world
    assert merged(world, {"allowedIps": []}) == {"allowedIps": []}


def test_a_data_volume_grows_and_never_shrinks():
    assert merged(ON_BLOCK, {"dataVolumeSize": 200})["dataVolumeSize"] == 200
    with pytest.raises(InputError, match="has 100 GiB, and no volume can be made smaller"):
        merged(ON_BLOCK, {"dataVolumeSize": 50})
    assert merged(ON_BLOCK, {"dataVolumeSize": 0})["dataVolumeSize"] == 0  # the guard asks about that


def test_for_the_next_block_only_a_place_that_was_named_counts():
    wanted = {**ON_BLOCK, "subnetId": "subnet-9"}
    assert without_place(wanted, {"subnetId": "subnet-9"})["subnetId"] == "subnet-9"
    assert not {"subnetId", "capacityReservationId"} & set(without_place(wanted, {}))


def test_after_a_removal_only_what_the_kept_data_is_bound_to_counts():
    assert of_kept_data([{"size": 100}, {"size": 100}]) == {"dataVolumeSize": 100, "count": 2}
    assert of_kept_data([]) == {}


def test_what_a_deploy_goes_by_is_said_in_a_line():
    assert summary({**ON_BLOCK, "allowedIps": ["203.0.113.7/32"]}) == (
        "2 x trn2.3xlarge, on cr-1, a data volume of 100 GiB, open to 203.0.113.7/32"
    )
    assert summary({"useCapacityBlock": True}) == "on the saved Capacity Block"
