import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from rehearsal.client import Access
from rehearsal.errors import AwsError
from rehearsal.market.settings import RateLimit
from rehearsal.market.throttling import SearchLimits
from tests.functional.conftest import PROJECT
from tests.functional.support import AMI_PARAMETER, eventually, refusal

SEARCH = {"InstanceType": "trn2.3xlarge", "InstanceCount": 1, "CapacityDurationHours": 24}
DEFAULTS = {
    "visible_after_seconds": 0,
    "payment_seconds": 2,
    "payment_outcome": "paid",
    "searches": None,
    "ultraservers": False,
    "starts_soon": False,
    "out_of_capacity": [],
    "health": {},
    "on_demand_quotas": {"trn": 1536.0, "inf": 1536.0},
    "capacity_block_quotas": {"trn1": 12288.0, "trn2": 12288.0},
}
LIMIT_EXCEEDED = "CapacityBlockDescribeLimitExceeded"


@pytest.fixture
def market(rehearsal_endpoint, control):
    """Change settings of the market: `market(starts_soon=True)`."""
    return lambda **changes: control("market", changes)


def test_settings_are_merged_and_a_reset_restores_the_defaults(market, control):
    assert control("market") == DEFAULTS
    market(payment_seconds=60, health={"cr-1": "impaired"})
    changed = market(searches={"burst": 5}, health={"cr-2": "insufficient-data"})
    assert changed == {
        **DEFAULTS,
        "payment_seconds": 60,
        "searches": {"burst": 5, "per_second": 0.5},
        "health": {"cr-1": "impaired", "cr-2": "insufficient-data"},
    }
    assert control("market") == changed
    assert market(searches=None)["searches"] is None
    control("reset", {})
    assert control("market") == DEFAULTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "name at least one of visible_after_seconds, "),
        ({"mood": "good"}, "the market has no mood; it has visible_after_seconds, "),
        ({"payment_seconds": -1}, "payment_seconds is a number from 0 to "),
        ({"payment_seconds": float("nan")}, "payment_seconds is a number from 0 to "),
        ({"visible_after_seconds": True}, "visible_after_seconds is a number from 0 to "),
        ({"payment_outcome": "stolen"}, "payment_outcome is one of paid, failed, not 'stolen'"),
        ({"ultraservers": "yes"}, "ultraservers is true or false, not 'yes'"),
        ({"starts_soon": 1}, "starts_soon is true or false, not 1"),
        ({"out_of_capacity": "trn2.3xlarge"}, "out_of_capacity is a list of instance types, "),
        ({"searches": 3}, "searches is null or an object such as "),
        ({"searches": {"bursts": 3}}, "searches is null or an object such as "),
        ({"searches": {"burst": 0.5}}, "searches: burst is a whole number, not 0.5"),
        ({"searches": {"per_second": "1"}}, "searches: per_second is a number from 0 to 1000, not '1'"),
        ({"health": "bad"}, "health is an object such as "),
        ({"health": {"cr-1": "ill"}}, "health of cr-1 is one of ok, impaired, insufficient-data, not 'ill'"),
    ],
)
def test_invalid_settings_are_refused_without_a_change(market, control, change, message):
    with pytest.raises(urllib.error.HTTPError) as refused:
        market(**{**change, **({"starts_soon": True} if change and "starts_soon" not in change else {})})
    assert refused.value.code == 400
    assert message in json.load(refused.value)["error"]
    assert control("market") == DEFAULTS


def test_rate_limit_of_searches_is_per_region_and_checked_first(ec2, client, market):
    market(searches={"burst": 2, "per_second": 0})
    ec2.describe_capacity_block_offerings(**SEARCH)
    assert refusal(ec2.describe_capacity_block_offerings, CapacityDurationHours=1) == "InvalidParameterValue"
    for search in (SEARCH, {"CapacityDurationHours": 1}, {**SEARCH, "DryRun": True}):
        assert refusal(ec2.describe_capacity_block_offerings, **search) == LIMIT_EXCEEDED
    elsewhere = {**SEARCH, "InstanceType": "trn2.48xlarge"}
    client("ec2", "us-east-2").describe_capacity_block_offerings(**elsewhere)
    market(searches=None)
    ec2.describe_capacity_block_offerings(**SEARCH)


def test_exceeded_rate_limit_is_a_client_error(ec2, market):
    market(searches={"burst": 0})
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.describe_capacity_block_offerings(**SEARCH)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_rehearsal_command_limits_searches_by_default(tmp_path):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "rehearsal", "--host-suite", "none", "--with-parent", "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(ready.exists)
            limited = {**DEFAULTS, "searches": {"burst": 2, "per_second": 0.5}}
            assert Access.from_ready_file(ready).control("market") == limited
        finally:
            process.terminate()


def test_rate_limit_of_searches_refills_over_time():
    seconds = [100.0]
    limits, limit = SearchLimits(lambda: seconds[0]), RateLimit()

    def allowed(limit=limit) -> bool:
        try:
            limits.check("1", "sa-east-1", limit)
        except AwsError:
            return False
        return True

    assert [allowed(), allowed(), allowed()] == [True, True, False]
    seconds[0] += 1.9
    assert not allowed()
    seconds[0] += 0.2
    assert [allowed(), allowed()] == [True, False]
    seconds[0] += 3600
    assert [allowed(), allowed(), allowed()] == [True, True, False]
    assert [allowed(RateLimit(burst=1)), allowed(RateLimit(burst=1))] == [True, False]


class TestOutOfCapacity:
    def test_no_block_is_offered_and_quoted_ones_cannot_be_purchased(self, ec2, market):
        found = ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"]
        market(out_of_capacity=["trn2.3xlarge"])
        assert ec2.describe_capacity_block_offerings(**SEARCH)["CapacityBlockOfferings"] == []
        purchase = {"CapacityBlockOfferingId": found[0]["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
        assert refusal(ec2.purchase_capacity_block, **purchase) == "InvalidCapacityBlockOfferingIdExpired"
        market(out_of_capacity=["trn1.32xlarge"])
        assert ec2.purchase_capacity_block(**purchase)["CapacityReservation"]

    def test_a_block_cannot_be_extended(self, ec2, market, active_block):
        request = {
            "CapacityReservationId": active_block["CapacityReservationId"],
            "CapacityBlockExtensionDurationHours": 24,
        }
        assert ec2.describe_capacity_block_extension_offerings(**request)["CapacityBlockExtensionOfferings"]
        market(out_of_capacity=["*"])
        assert ec2.describe_capacity_block_extension_offerings(**request)["CapacityBlockExtensionOfferings"] == []

    def test_on_demand_launches_and_reservations_are_refused(self, ec2, ssm, market):
        image = ssm.get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"]
        request = {"ImageId": image, "InstanceType": "inf2.xlarge", "MinCount": 1, "MaxCount": 1}
        market(out_of_capacity=["inf2.xlarge"])
        with pytest.raises(ClientError) as refused:
            ec2.run_instances(**request)
        assert refused.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        reservation = {"InstanceType": "inf2.xlarge", "InstancePlatform": "Linux/UNIX", "InstanceCount": 1}
        (zone, *_) = ec2.describe_instance_type_offerings(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["inf2.xlarge"]}]
        )["InstanceTypeOfferings"]
        code = refusal(ec2.create_capacity_reservation, **reservation, AvailabilityZone=zone["Location"])
        assert code == "InsufficientInstanceCapacity"
        market(out_of_capacity=[])
        assert ec2.run_instances(**request)["Instances"]
