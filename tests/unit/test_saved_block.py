import json
import subprocess
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.fakes import StandIn
from tests.unit.capacity_fakes import REGION, START, ZONE, FakeEc2, refusal, reservation
from torchneuron.capacity_blocks import show_saved
from torchneuron.capacity_blocks.saved_block import Names, SavedBlock, as_json, as_shell, load, save, update_end
from torchneuron.core.errors import AccessError, AwsError, InputError, NotFoundError

BLOCK, OTHER = "cr-0123456789abcdef0", "cr-0fedcba9876543210"
MANY, FEW, ELSEWHERE = "subnet-0000000000000000a", "subnet-0000000000000000b", "subnet-0000000000000000c"
OWN = "subnet-0000000000000000d"
DEFAULT_VPC, OWN_VPC = "vpc-0000000000000000a", "vpc-0000000000000000b"
NAMES = Names(REGION)
RESERVATION, SUBNET, END = NAMES.reservation, NAMES.subnet, NAMES.end
WRITTEN = {
    "/capacity-block/sa-east-1/reservation-id": BLOCK,
    "/capacity-block/sa-east-1/subnet-id": MANY,
    "/capacity-block/sa-east-1/availability-zone": "sa-east-1b",
    "/capacity-block/sa-east-1/instance-type": "trn2.3xlarge",
    "/capacity-block/sa-east-1/start": "2026-01-12T11:30:00Z",
    "/capacity-block/sa-east-1/end": "2026-01-13T11:30:00Z",
}
WHOLE = SavedBlock(REGION, BLOCK, MANY, ZONE, "trn2.3xlarge", START, START + timedelta(hours=24))


class FakeSsm(StandIn):
    """Parameter Store as a dict. After `after` writes, each write to a name in `breaking` raises `broken`.

    With `late` such a write takes effect, and only its response is lost.
    """

    def __init__(self, **values):
        given = {RESERVATION: values.get("reservation"), SUBNET: values.get("subnet")}
        self.values = {name: value for name, value in given.items() if value}
        self.tags, self.operations = {}, []
        self.broken: Any
        self.broken, self.breaking, self.after, self.late = None, frozenset(NAMES.all), 0, False

    def get_parameters(self, Names):  # noqa: N803 - boto3's own
        self.operations.append("GetParameters")
        assert len(Names) <= 10
        found = [{"Name": name, "Value": self.values[name]} for name in Names if name in self.values]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name not in self.values]}

    def put_parameter(self, Name, Value, Type, Overwrite=False, Tags=()):  # noqa: N803
        fails = self._fails(f"Put {Name}", Name)
        if fails and not self.late:
            raise self.broken
        if Name in self.values and not Overwrite:
            raise refusal("ParameterAlreadyExists")
        if Overwrite and Tags:
            raise refusal("ValidationException")
        assert Value
        self.values[Name] = Value
        if Tags:
            self.tags[Name] = {tag["Key"]: tag["Value"] for tag in Tags}
        if fails:
            raise self.broken

    def _fails(self, operation, name):
        self.operations.append(operation)
        writes = len([name for name in self.operations if name != "GetParameters"])
        return self.broken and name in self.breaking and writes > self.after


class Ec2(FakeEc2):
    """Filters as EC2 does."""

    def describe_vpcs(self, **request):
        if wanted := request.get("VpcIds"):
            found = [vpc for vpc in self.vpcs if vpc["VpcId"] in wanted]
            if not found:
                raise refusal("InvalidVpcID.NotFound")
            return {"Vpcs": found}
        return {"Vpcs": [vpc for vpc in self.vpcs if vpc["IsDefault"]]}

    def _pages_of_describe_subnets(self, **request):
        wanted = {each["Name"]: each["Values"][0] for each in request["Filters"]}
        keys = {"vpc-id": "VpcId", "availability-zone": "AvailabilityZone", "state": "State"}
        for found in self.subnets:
            yield {"Subnets": [found] if all(found[keys[name]] == value for name, value in wanted.items()) else []}


def subnet(subnet_id, zone=ZONE, free=100, vpc=DEFAULT_VPC, cidr="172.31.0.0/20"):
    return {
        "SubnetId": subnet_id,
        "AvailabilityZone": zone,
        "AvailableIpAddressCount": free,
        "VpcId": vpc,
        "CidrBlock": cidr,
        "State": "available",
        "MapPublicIpOnLaunch": True,
    }


@pytest.fixture
def ec2():
    ec2 = Ec2()
    ec2.reservations = [reservation(BLOCK)]
    ec2.vpcs = [
        {"VpcId": DEFAULT_VPC, "IsDefault": True, "CidrBlock": "172.31.0.0/16"},
        {"VpcId": OWN_VPC, "IsDefault": False, "CidrBlock": "10.0.0.0/16"},
    ]
    ec2.subnets = [
        subnet(FEW, free=3),
        subnet(MANY, free=250),
        subnet("subnet-0000000000000000e", free=250),
        subnet(ELSEWHERE, zone="sa-east-1a", free=4000),
        subnet(OWN, vpc=OWN_VPC, free=4000, cidr="10.0.0.0/20"),
    ]
    return ec2


def test_six_parameters_are_written_and_read_back(ec2):
    ssm = FakeSsm()
    assert save(ec2, ssm, REGION, BLOCK, project="p") == WHOLE
    assert ssm.values == WRITTEN
    assert ssm.tags == {name: {"Project": "p", "ManagedBy": "torchneuron"} for name in WRITTEN}
    assert load(ssm, REGION) == WHOLE


@pytest.mark.attack("have the largest subnet saved, which has no route out")
def test_subnet_with_a_way_out_is_found_before_a_larger_one_without(ec2, capsys):
    ec2.closed = {MANY, "subnet-0000000000000000e"}
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == FEW
    # A named subnet is saved anyway: the user may know of another route.
    assert save(ec2, FakeSsm(), REGION, BLOCK, MANY, project="p").subnet_id == MANY
    assert f"Warning: Systems Manager will not reach instances in {MANY}." in capsys.readouterr().err


def test_zone_without_a_way_out_is_refused_with_the_command_that_creates_one(ec2):
    ec2.closed = {closed["SubnetId"] for closed in ec2.subnets}
    with pytest.raises(NotFoundError, match=f"has no subnet in {ZONE} that reaches Systems Manager") as refused:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")
    assert "aws ec2 create-route" in refused.value.do


def test_unreadable_routes_do_not_stop_a_save(ec2, capsys):
    def denied(**_):
        raise refusal("UnauthorizedOperation")

    ec2.describe_route_tables = denied
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == MANY
    assert f"the routes of {MANY} cannot be checked" in capsys.readouterr().err


def test_load_makes_one_call(ec2):
    ssm = FakeSsm()
    ssm.values = dict(WRITTEN)
    load(ssm, REGION)
    assert ssm.operations == ["GetParameters"]


def test_saving_again_writes_only_what_changed(ec2):
    ssm = FakeSsm(reservation=OTHER, subnet=FEW)
    save(ec2, ssm, REGION, BLOCK, project="p")
    assert load(ssm, REGION) == WHOLE
    ssm.operations.clear()
    save(ec2, ssm, REGION, BLOCK, FEW, project="p")
    assert ssm.operations == ["GetParameters", f"Put {SUBNET}"]


def test_subnet_with_most_free_addresses_then_lowest_id_is_found(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == MANY


def test_subnet_is_found_in_the_named_vpc(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id=OWN_VPC).subnet_id == OWN
    with pytest.raises(NotFoundError, match="no VPC vpc-9"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id="vpc-9")


def test_given_subnet_may_be_in_any_vpc_unless_one_is_named(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, OWN, project="p").subnet_id == OWN
    with pytest.raises(InputError, match=f"is in {OWN_VPC}, not in {DEFAULT_VPC}"):
        save(ec2, FakeSsm(), REGION, BLOCK, OWN, project="p", vpc_id=DEFAULT_VPC)


def test_subnet_in_another_zone_is_refused_with_both_zones(ec2):
    ssm = FakeSsm()
    with pytest.raises(InputError, match=f"{ELSEWHERE} is in sa-east-1a, and {BLOCK} is in sa-east-1b"):
        save(ec2, ssm, REGION, BLOCK, ELSEWHERE, project="p")
    assert ssm.operations == []


def test_unknown_subnet_or_reservation_is_reported(ec2):
    with pytest.raises(NotFoundError, match="no subnet subnet-9"):
        save(ec2, FakeSsm(), REGION, BLOCK, "subnet-9", project="p")
    with pytest.raises(NotFoundError, match=f"{OTHER} does not exist"):
        save(ec2, FakeSsm(), REGION, OTHER, project="p")


@pytest.mark.parametrize("state", ["expired", "payment-failed", "cancelled"])
def test_ended_reservation_is_not_saved(ec2, state):
    ec2.reservations = [reservation(BLOCK, state)]
    with pytest.raises(InputError, match=f"{BLOCK} is {state}"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")


def test_on_demand_reservation_is_not_saved(ec2):
    ec2.reservations = [reservation(BLOCK, "active", ReservationType="default")]
    with pytest.raises(InputError, match="not a Capacity Block"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")


def test_missing_vpc_or_subnet_says_how_to_create_one(ec2):
    ec2.subnets = [subnet(OWN, "sa-east-1a", vpc=OWN_VPC, cidr="10.0.0.0/20")]
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")
    assert "create-default-subnet --availability-zone sa-east-1b --region sa-east-1" in missing.value.do
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id=OWN_VPC)
    assert missing.value.do.endswith(
        f"aws ec2 create-subnet --vpc-id {OWN_VPC} --availability-zone sa-east-1b"
        " --cidr-block 10.0.16.0/20 --region sa-east-1"
    )
    ec2.vpcs = []
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")
    assert "create-default-vpc --region sa-east-1" in missing.value.do


@pytest.mark.parametrize(
    ("cidr", "taken", "free"),
    [
        ("10.0.0.0/24", [], "10.0.0.0/24"),
        ("10.0.0.0/24", ["10.0.0.0/25"], "10.0.0.128/28"),
        ("10.0.0.0/24", ["10.0.0.0/24"], "CIDR"),
    ],
)
def test_proposed_subnet_addresses_are_free(ec2, cidr, taken, free):
    ec2.vpcs[1]["CidrBlock"] = cidr
    ec2.subnets = [subnet(OWN, "sa-east-1a", vpc=OWN_VPC, cidr=block) for block in taken]
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id=OWN_VPC)
    assert f"--cidr-block {free} " in missing.value.do


EARLIER = [
    {},
    {RESERVATION: OTHER, SUBNET: FEW},
    {**WRITTEN, RESERVATION: OTHER, SUBNET: FEW, END: "2026-01-01T11:30:00Z"},
]
LOST = ConnectionClosedError(endpoint_url="https://ssm")
AGAIN = f"invoke cb.save-params --reservation-id {BLOCK} --subnet-id {MANY} -r {REGION}"


def test_refused_first_write_saves_nothing(ec2):
    ssm = FakeSsm()
    ssm.broken = refusal("AccessDeniedException")
    with pytest.raises(AccessError, match=r"Nothing was saved\. Could not write") as failed:
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert failed.value.exit_status == 2
    assert ssm.values == {}


@pytest.mark.parametrize("error", [refusal("AccessDeniedException"), LOST])
def test_save_that_fails_part_way_says_how_to_save_again(ec2, error):
    ssm = FakeSsm()
    ssm.broken, ssm.breaking = error, frozenset({RESERVATION})
    with pytest.raises(AwsError) as failed:
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert (type(failed.value), failed.value.exit_status) == (AwsError, 1)
    assert failed.value.what == "Saving the block failed part-way."
    assert f"Could not write {RESERVATION}" in failed.value.why
    assert failed.value.do.endswith(f"Then save it again: {AGAIN}")
    ssm.broken = None
    save(ec2, ssm, REGION, BLOCK, MANY, project="p")
    assert ssm.values == WRITTEN


def test_first_write_with_a_lost_response_counts_as_part_way(ec2):
    ssm = FakeSsm()
    ssm.broken, ssm.late = LOST, True
    with pytest.raises(AwsError, match="failed part-way"):
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == {SUBNET: MANY}


def test_interrupted_save_says_how_to_save_again(ec2, capsys):
    ssm = FakeSsm()
    ssm.broken, ssm.breaking, ssm.late = KeyboardInterrupt(), frozenset({RESERVATION}), True
    with pytest.raises(KeyboardInterrupt):
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert AGAIN in capsys.readouterr().err


OTHER_ZONE = {
    **WRITTEN,
    RESERVATION: OTHER,
    SUBNET: ELSEWHERE,
    NAMES.zone: "sa-east-1a",
    NAMES.instance_type: "trn1.32xlarge",
}
SAME_ZONE = {**WRITTEN, RESERVATION: OTHER, SUBNET: FEW}
ZONES = {FEW: ZONE, MANY: ZONE, ELSEWHERE: "sa-east-1a"}


def plan_passes(values):
    """Whether Terraform can plan on what is saved: everything is there, and the subnet is in the saved zone."""
    is_complete = values.keys() >= {RESERVATION, SUBNET, NAMES.zone, NAMES.instance_type}
    return is_complete and ZONES[values[SUBNET]] == values[NAMES.zone]


@pytest.mark.parametrize("before", [*EARLIER, OTHER_ZONE, SAME_ZONE])
@pytest.mark.parametrize("writes", range(6))
def test_launch_after_a_partial_save_uses_a_whole_block_or_is_refused(ec2, before, writes):
    ssm = FakeSsm()
    ssm.values = dict(before)
    ssm.broken, ssm.after = refusal("TooManyUpdates"), writes
    try:
        save(ec2, ssm, REGION, BLOCK, MANY, project="p")
    except AwsError:
        assert ssm.values != WRITTEN
    zone_of_block = {BLOCK: ZONE, OTHER: before.get(NAMES.zone)}
    if plan_passes(ssm.values):
        assert ZONES[ssm.values[SUBNET]] == zone_of_block[ssm.values[RESERVATION]]


def test_write_that_botocore_retried_after_a_lost_response_succeeds(ec2):
    class Retrying(FakeSsm):
        def put_parameter(self, **request):  # type: ignore[override]
            super().put_parameter(**request)
            if not request.get("Overwrite"):
                super().put_parameter(**request)

    ssm = Retrying()
    save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == WRITTEN


def test_missing_block_says_what_is_missing_and_how_to_save():
    with pytest.raises(NotFoundError, match="No Capacity Block is saved for sa-east-1") as missing:
        load(FakeSsm(), REGION)
    assert missing.value.why == f"Parameter Store has no {RESERVATION} and no {SUBNET}."
    assert "invoke cb.save-params --reservation-id cr-… -r sa-east-1" in missing.value.do


def test_incomplete_block_says_what_is_missing_and_how_to_save():
    with pytest.raises(NotFoundError, match="is incomplete") as missing:
        load(FakeSsm(reservation=BLOCK), REGION)
    assert missing.value.why == f"Parameter Store has no {SUBNET}."
    assert missing.value.do == f"Save it again: invoke cb.save-params --reservation-id {BLOCK} -r sa-east-1."
    with pytest.raises(NotFoundError, match="is incomplete") as missing:
        load(FakeSsm(subnet=MANY), REGION)
    assert missing.value.why == f"Parameter Store has no {RESERVATION}."
    assert "invoke cb.list" in missing.value.do


OLD = SavedBlock(REGION, BLOCK, MANY)


def test_block_of_an_earlier_version_is_read_without_the_rest(capsys):
    assert load(FakeSsm(reservation=BLOCK, subnet=MANY), REGION) == OLD
    show_saved.show(OLD)
    assert capsys.readouterr().out == (
        "Parameter Store has:\n"
        f"/capacity-block/sa-east-1/reservation-id     {BLOCK}\n"
        f"/capacity-block/sa-east-1/subnet-id          {MANY}\n"
        "/capacity-block/sa-east-1/availability-zone  (not saved)\n"
        "/capacity-block/sa-east-1/instance-type      (not saved)\n"
        "/capacity-block/sa-east-1/start              (not saved)\n"
        "/capacity-block/sa-east-1/end                (not saved)\n"
    )


@pytest.mark.parametrize("name", NAMES.all)
@pytest.mark.parametrize("value", ["$(reboot)", "cr-1; rm -rf /", "cr-0123456789abcdef0\nx", "--help", "ü"])
def test_tampered_value_is_refused(name, value):
    ssm = FakeSsm()
    ssm.values = {**WRITTEN, name: value}
    with pytest.raises(InputError) as refused:
        load(ssm, REGION)
    assert refused.value.exit_status == 2
    assert name in refused.value.what
    assert repr(value) in refused.value.what


def test_new_end_is_saved_for_the_saved_block_only():
    ssm, end = FakeSsm(reservation=BLOCK, subnet=MANY), START + timedelta(hours=72)
    assert not update_end(ssm, REGION, OTHER, end)
    assert END not in ssm.values
    assert update_end(ssm, REGION, BLOCK, end)
    assert load(ssm, REGION).end == end
    later = end + timedelta(hours=24)
    assert update_end(ssm, REGION, BLOCK, later)
    assert ssm.values[END] == "2026-01-16T11:30:00Z"
    assert update_end(ssm, REGION, BLOCK, end)
    assert ssm.values[END] == "2026-01-16T11:30:00Z", "blocks never become shorter"
    assert not update_end(FakeSsm(), REGION, BLOCK, end)


VARIABLES = [
    "CAPACITY_RESERVATION_ID",
    "CAPACITY_SUBNET_ID",
    "CAPACITY_AVAILABILITY_ZONE",
    "CAPACITY_INSTANCE_TYPE",
    "CAPACITY_START",
    "CAPACITY_END",
]


def in_a_shell(block):
    """The variables of a shell that had other values and evaluated the block."""
    shown = " ".join(f'"${{{name}-absent}}"' for name in VARIABLES)
    script = f'for name in {" ".join(VARIABLES)}; do export $name=stale; done; eval "$1"; printf "%s|" {shown}'
    seen = subprocess.run(["sh", "-euc", script, "sh", as_shell(block)], capture_output=True, text=True, check=True)
    return seen.stdout.split("|")[:-1]


def test_shell_reads_exactly_what_was_saved():
    assert in_a_shell(WHOLE) == [
        BLOCK,
        MANY,
        "sa-east-1b",
        "trn2.3xlarge",
        "2026-01-12T11:30:00Z",
        "2026-01-13T11:30:00Z",
    ]
    assert in_a_shell(OLD) == [BLOCK, MANY, "absent", "absent", "absent", "absent"]
    awkward = SavedBlock(REGION, "cr-1 $(exit 7)'\"", "subnet-`false`\n;x")
    assert in_a_shell(awkward)[:2] == [awkward.reservation_id, awkward.subnet_id]


def test_json_has_every_value():
    assert json.loads(as_json(WHOLE)) == {
        "region": REGION,
        "reservationId": BLOCK,
        "subnetId": MANY,
        "zone": "sa-east-1b",
        "instanceType": "trn2.3xlarge",
        "start": "2026-01-12T11:30:00Z",
        "end": "2026-01-13T11:30:00Z",
    }
    assert json.loads(as_json(OLD))["end"] is None


def test_unknown_output_is_refused():
    assert show_saved.check_output("text") == "table"
    with pytest.raises(InputError, match="no --output 'xml'"):
        show_saved.check_output("xml")
