import subprocess

import pytest

from tests.unit.capacity_fakes import REGION, ZONE, FakeEc2, refusal, reservation
from torchneuron.errors import AwsError, InputError, NotFoundError
from torchneuron.saved_block import SavedBlock, as_shell, load, save

RESERVATION = "/capacity-block/sa-east-1/reservation-id"
SUBNET = "/capacity-block/sa-east-1/subnet-id"


class FakeSsm:
    """Parameter Store as a dict. A write to `broken` fails."""

    def __init__(self, **values):
        self.values = {RESERVATION: values.get("reservation"), SUBNET: values.get("subnet")}
        self.values = {name: value for name, value in self.values.items() if value}
        self.tags, self.broken = {}, ""

    def get_parameters(self, Names):  # noqa: N803 - boto3's own
        found = [{"Name": name, "Value": self.values[name]} for name in Names if name in self.values]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name not in self.values]}

    def put_parameter(self, Name, Value, Type, Overwrite=False, Tags=()):  # noqa: N803
        if Name == self.broken:
            raise refusal("TooManyUpdates")
        if Name in self.values and not Overwrite:
            raise refusal("ParameterAlreadyExists")
        if Overwrite and Tags:
            raise refusal("ValidationException")
        self.values[Name] = Value
        self.tags[Name] = {tag["Key"]: tag["Value"] for tag in Tags}

    def delete_parameter(self, Name):  # noqa: N803
        del self.values[Name]


def subnet(subnet_id, zone=ZONE, free=100, vpc="vpc-default"):
    return {"SubnetId": subnet_id, "AvailabilityZone": zone, "AvailableIpAddressCount": free, "VpcId": vpc}


@pytest.fixture
def ec2():
    ec2 = FakeEc2()
    ec2.reservations = [reservation()]
    ec2.vpcs = [{"VpcId": "vpc-default"}]
    ec2.subnets = [
        subnet("subnet-few", free=3),
        subnet("subnet-many", free=250),
        subnet("subnet-elsewhere", zone="sa-east-1a", free=4000),
        subnet("subnet-own", vpc="vpc-own", free=4000),
    ]
    return ec2


def test_the_subnet_with_most_free_addresses_in_the_zone_is_found(ec2):
    ssm = FakeSsm()
    assert save(ec2, ssm, REGION, "cr-1", project="p") == SavedBlock(REGION, "cr-1", "subnet-many")
    assert ssm.values == {RESERVATION: "cr-1", SUBNET: "subnet-many"}
    assert ssm.tags[SUBNET] == {"Project": "p", "ManagedBy": "torchneuron"}


def test_a_given_subnet_is_taken_whatever_its_vpc(ec2):
    assert save(ec2, FakeSsm(), REGION, "cr-1", "subnet-own", project="p").subnet_id == "subnet-own"


def test_a_subnet_in_another_zone_is_refused_with_both_named(ec2):
    ssm = FakeSsm()
    with pytest.raises(InputError) as refused:
        save(ec2, ssm, REGION, "cr-1", "subnet-elsewhere", project="p")
    assert "sa-east-1a" in refused.value.what
    assert "sa-east-1b" in refused.value.what
    assert ssm.values == {}


def test_an_unknown_subnet_or_reservation_is_told(ec2):
    with pytest.raises(NotFoundError, match="no subnet subnet-9"):
        save(ec2, FakeSsm(), REGION, "cr-1", "subnet-9", project="p")
    with pytest.raises(NotFoundError, match="no capacity reservation cr-9"):
        save(ec2, FakeSsm(), REGION, "cr-9", project="p")


def test_a_reservation_that_is_gone_is_not_saved(ec2):
    ec2.reservations = [reservation(state="expired")]
    with pytest.raises(InputError, match="expired"):
        save(ec2, FakeSsm(), REGION, "cr-1", project="p")


def test_no_default_vpc_and_no_subnet_say_how_to_make_one(ec2):
    ec2.subnets = []
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, "cr-1", project="p")
    assert "create-default-subnet --availability-zone sa-east-1b" in missing.value.do
    ec2.vpcs = []
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, "cr-1", project="p")
    assert "create-default-vpc --region sa-east-1" in missing.value.do


@pytest.mark.parametrize("before", [{}, {"reservation": "cr-0", "subnet": "subnet-0"}])
@pytest.mark.parametrize("broken", [RESERVATION, SUBNET])
def test_both_are_written_or_neither(ec2, before, broken):
    ssm = FakeSsm(**before)
    was = dict(ssm.values)
    ssm.broken = broken
    with pytest.raises(AwsError, match=f"write {broken}"):
        save(ec2, ssm, REGION, "cr-1", project="p")
    assert ssm.values == was


def test_saving_again_overwrites(ec2):
    ssm = FakeSsm(reservation="cr-0", subnet="subnet-0")
    save(ec2, ssm, REGION, "cr-1", project="p")
    assert load(ssm, REGION) == SavedBlock(REGION, "cr-1", "subnet-many")


def test_nothing_saved_says_what_is_missing_and_how_to_save():
    with pytest.raises(NotFoundError) as missing:
        load(FakeSsm(reservation="cr-0"), REGION)
    assert missing.value.why == f"Parameter Store has no {SUBNET}."
    assert "cb.save-params" in missing.value.do


def test_a_shell_reads_exactly_what_was_saved():
    awkward = SavedBlock(REGION, "cr-1 $(exit 7)'\"", "subnet-`false`\n;x")
    script = 'eval "$1"; printf "%s|%s" "$CAPACITY_RESERVATION_ID" "$CAPACITY_SUBNET_ID"'
    seen = subprocess.run(["sh", "-euc", script, "sh", as_shell(awkward)], capture_output=True, text=True, check=True)
    assert seen.stdout == f"{awkward.reservation_id}|{awkward.subnet_id}"
