import json
import shlex
import subprocess
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import StandIn
from tests.unit.capacity_fakes import REGION, START, ZONE, FakeEc2, refusal, reservation
from torchneuron.capacity_blocks import show_saved
from torchneuron.capacity_blocks.saved_block import Names, SavedBlock, as_json, as_shell, load, save, update_end
from torchneuron.core.errors import AccessError, AwsError, InputError, NotFoundError, UnreachableError

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
    """Parameter Store as a dict. `broken` is raised by writes, from the `after`th on, to names in `breaking` only.

    With `late` such a write takes effect all the same: its answer is what gets lost.
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

    def delete_parameter(self, Name):  # noqa: N803
        if self._fails(f"Delete {Name}", Name):
            raise self.broken
        if Name not in self.values:
            raise refusal("ParameterNotFound")
        del self.values[Name]

    def _fails(self, operation, name):
        self.operations.append(operation)
        writes = len([one for one in self.operations if one != "GetParameters"])
        return self.broken and name in self.breaking and writes > self.after


class Ec2(FakeEc2):
    """Filters as EC2 does, by whatever is asked for."""

    def describe_vpcs(self, **request):
        if wanted := request.get("VpcIds"):
            found = [one for one in self.vpcs if one["VpcId"] in wanted]
            if not found:
                raise refusal("InvalidVpcID.NotFound")
            return {"Vpcs": found}
        return {"Vpcs": [one for one in self.vpcs if one["IsDefault"]]}

    def _pages_of_describe_subnets(self, **request):
        wanted = {each["Name"]: each["Values"][0] for each in request["Filters"]}
        keys = {"vpc-id": "VpcId", "availability-zone": "AvailabilityZone", "state": "State"}
        for one in self.subnets:
            yield {"Subnets": [one] if all(one[keys[name]] == value for name, value in wanted.items()) else []}


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


@pytest.mark.attack("have the largest subnet saved, which nothing leads out of")
def test_subnet_with_a_way_out_is_found_before_a_larger_one_without(ec2, capsys):
    ec2.closed = {MANY, "subnet-0000000000000000e"}
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == FEW
    # One that is named is saved all the same: whoever names it may know of another way.
    assert save(ec2, FakeSsm(), REGION, BLOCK, MANY, project="p").subnet_id == MANY
    assert f"Warning: Systems Manager will not reach a machine in {MANY}." in capsys.readouterr().err


def test_zone_without_a_way_out_is_refused_with_the_command_that_makes_one(ec2):
    ec2.closed = {one["SubnetId"] for one in ec2.subnets}
    with pytest.raises(NotFoundError, match=f"has no subnet with a way out in {ZONE}") as refused:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")
    assert "aws ec2 create-route" in refused.value.do


def test_routes_that_may_not_be_looked_at_stop_no_save(ec2, capsys):
    def denied(**_):
        raise refusal("UnauthorizedOperation")

    ec2.describe_route_tables = denied
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == MANY
    assert f"whether {MANY} has a way out cannot be seen" in capsys.readouterr().err


def test_reading_them_is_one_call(ec2):
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


def test_the_default_vpcs_subnet_with_most_free_addresses_is_found_then_the_lowest_id(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p").subnet_id == MANY


def test_a_named_vpc_is_looked_in_instead(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id=OWN_VPC).subnet_id == OWN
    with pytest.raises(NotFoundError, match="no VPC vpc-9"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id="vpc-9")


def test_a_given_subnet_is_taken_whatever_its_vpc_unless_that_is_named(ec2):
    assert save(ec2, FakeSsm(), REGION, BLOCK, OWN, project="p").subnet_id == OWN
    with pytest.raises(InputError, match=f"is in {OWN_VPC}, not in {DEFAULT_VPC}"):
        save(ec2, FakeSsm(), REGION, BLOCK, OWN, project="p", vpc_id=DEFAULT_VPC)


def test_a_subnet_in_another_zone_is_refused_with_both_named(ec2):
    ssm = FakeSsm()
    with pytest.raises(InputError, match=f"{ELSEWHERE} is in sa-east-1a, and {BLOCK} is in sa-east-1b"):
        save(ec2, ssm, REGION, BLOCK, ELSEWHERE, project="p")
    assert ssm.operations == []


def test_an_unknown_subnet_or_reservation_is_told(ec2):
    with pytest.raises(NotFoundError, match="no subnet subnet-9"):
        save(ec2, FakeSsm(), REGION, BLOCK, "subnet-9", project="p")
    with pytest.raises(NotFoundError, match=f"no capacity reservation {OTHER}"):
        save(ec2, FakeSsm(), REGION, OTHER, project="p")


@pytest.mark.parametrize("state", ["expired", "payment-failed", "cancelled"])
def test_a_reservation_that_is_gone_is_not_saved(ec2, state):
    ec2.reservations = [reservation(BLOCK, state)]
    with pytest.raises(InputError, match=f"{BLOCK} is {state}"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")


def test_an_on_demand_reservation_is_not_saved(ec2):
    ec2.reservations = [reservation(BLOCK, "active", ReservationType="default")]
    with pytest.raises(InputError, match="not a Capacity Block"):
        save(ec2, FakeSsm(), REGION, BLOCK, project="p")


def test_no_default_vpc_and_no_subnet_say_how_to_make_one(ec2):
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
def test_the_addresses_proposed_for_a_subnet_are_free(ec2, cidr, taken, free):
    ec2.vpcs[1]["CidrBlock"] = cidr
    ec2.subnets = [subnet(OWN, "sa-east-1a", vpc=OWN_VPC, cidr=one) for one in taken]
    with pytest.raises(NotFoundError) as missing:
        save(ec2, FakeSsm(), REGION, BLOCK, project="p", vpc_id=OWN_VPC)
    assert f"--cidr-block {free} " in missing.value.do


EARLIER = [
    {},
    {RESERVATION: OTHER, SUBNET: FEW},
    {**WRITTEN, RESERVATION: OTHER, SUBNET: FEW, END: "2026-01-01T11:30:00Z"},
]


@pytest.mark.parametrize("before", EARLIER)
@pytest.mark.parametrize("broken", [RESERVATION, SUBNET, END])
def test_all_are_written_or_none(ec2, before, broken):
    ssm = FakeSsm()
    ssm.values = dict(before)
    ssm.broken, ssm.breaking = refusal("TooManyUpdates"), frozenset({broken})
    with pytest.raises(AwsError, match=f"Nothing was saved. Could not write {broken}"):
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == before


def test_what_was_put_back_is_told_and_what_was_not_touched_too(ec2):
    ssm = FakeSsm()
    ssm.broken, ssm.breaking = refusal("AccessDeniedException"), frozenset({RESERVATION})
    with pytest.raises(AccessError, match="put back as it was") as failed:
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert failed.value.exit_status == 2
    ssm.breaking = frozenset(NAMES.all)
    with pytest.raises(AccessError) as failed:
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert "put back" not in failed.value.what


LOST = ConnectionClosedError(endpoint_url="https://ssm")


@settings(deadline=None)
@given(
    before=st.sampled_from(EARLIER),
    broken=st.sampled_from([refusal("TooManyUpdates"), LOST, KeyboardInterrupt()]),
    breaking=st.frozensets(st.sampled_from(NAMES.all), min_size=1),
    after=st.integers(0, 8),
    late=st.booleans(),
)
def test_whatever_fails_either_all_is_saved_or_all_is_as_before_or_the_error_mends_it(
    before, broken, breaking, after, late
):
    ec2 = Ec2()
    ec2.reservations, ec2.subnets = [reservation(BLOCK)], [subnet(MANY)]
    ssm = FakeSsm()
    ssm.values = dict(before)
    ssm.broken, ssm.breaking, ssm.after = broken, breaking, after
    ssm.late = late and broken is LOST
    told = None
    try:
        save(ec2, ssm, REGION, BLOCK, MANY, project="p")
    except (AwsError, KeyboardInterrupt) as error:
        told = error
    if told is None:
        assert ssm.values == WRITTEN
        return
    if "saved by half" in str(told):
        differing = [name for name in NAMES.all if ssm.values.get(name) != before.get(name)]
        assert differing
        assert all((f"{name} holds" in told.why) == (name in differing) for name in NAMES.all)
        carry_out(told.do, ssm)
    assert ssm.values == before


def carry_out(text, ssm):
    """The commands of an error's last lines, as the AWS CLI would."""
    for line in text.splitlines()[1:]:
        words = shlex.split(line)
        options = dict(pairwise(words))
        assert words[:2] == ["aws", "ssm"]
        assert options["--region"] == REGION
        if words[2] == "delete-parameter":
            ssm.values.pop(options["--name"], None)
        else:
            assert words[2] == "put-parameter"
            assert "--overwrite" in words
            ssm.values[options["--name"]] = options["--value"]


def test_what_cannot_be_put_back_is_said_with_the_commands_that_mend_it(ec2):
    ssm = FakeSsm(reservation=OTHER, subnet=FEW)
    ssm.broken, ssm.after = refusal("AccessDeniedException"), 5
    with pytest.raises(AwsError) as failed:
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert type(failed.value) is AwsError
    assert failed.value.exit_status == 1
    assert failed.value.what.startswith("The block is saved by half: Could not write")
    assert f"  {SUBNET} holds '{MANY}', where '{FEW}' was" in failed.value.why
    assert f"  {END} holds '2026-01-13T11:30:00Z', where nothing was" in failed.value.why
    assert f"  aws ssm put-parameter --region sa-east-1 --name {SUBNET} --type String --overwrite --value {FEW}" in (
        failed.value.do.splitlines()
    )
    assert f"  aws ssm delete-parameter --region sa-east-1 --name {END}" in failed.value.do.splitlines()
    assert RESERVATION not in failed.value.do


def test_a_write_whose_answer_was_lost_and_that_botocore_repeated_counts(ec2):
    class Repeating(FakeSsm):
        def put_parameter(self, **request):  # type: ignore[override]
            super().put_parameter(**request)
            if not request.get("Overwrite"):
                super().put_parameter(**request)

    ssm = Repeating()
    save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == WRITTEN


def test_an_interruption_puts_back_and_says_so(ec2, capsys):
    class Interrupted(FakeSsm):
        def put_parameter(self, Name, **request):  # type: ignore[override]  # noqa: N803
            super().put_parameter(Name, **request)
            if Name == SUBNET and "Overwrite" not in request:
                raise KeyboardInterrupt

    ssm = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == {}
    assert "Nothing was saved. What had been written before that was put back" in capsys.readouterr().err


def test_where_nothing_can_be_read_either_what_may_be_there_is_said(ec2):
    class Unreadable(FakeSsm):
        def get_parameters(self, **request):  # type: ignore[override]
            if len(self.operations) > 1:
                raise LOST
            return super().get_parameters(**request)

    ssm = Unreadable()
    ssm.broken, ssm.after = LOST, 1
    with pytest.raises(AwsError, match=f"{NAMES.zone} may hold 'sa-east-1b', where nothing was"):
        save(ec2, ssm, REGION, BLOCK, project="p")


def test_a_lost_write_that_can_be_put_back_leaves_it_unreachable(ec2):
    ssm = FakeSsm(reservation=OTHER)
    ssm.broken, ssm.breaking = LOST, frozenset({SUBNET})
    with pytest.raises(UnreachableError, match="put back as it was"):
        save(ec2, ssm, REGION, BLOCK, project="p")
    assert ssm.values == {RESERVATION: OTHER}


def test_nothing_saved_says_what_is_missing_and_how_to_save():
    with pytest.raises(NotFoundError, match="No Capacity Block is saved for sa-east-1") as missing:
        load(FakeSsm(), REGION)
    assert missing.value.why == f"Parameter Store has no {RESERVATION} and no {SUBNET}."
    assert "invoke cb.save-params --reservation-id cr-… -r sa-east-1" in missing.value.do


def test_a_half_saved_block_says_which_half_and_how_to_mend_it():
    with pytest.raises(NotFoundError, match="is incomplete") as missing:
        load(FakeSsm(reservation=BLOCK), REGION)
    assert missing.value.why == f"Parameter Store has no {SUBNET}."
    assert missing.value.do == f"Save it again: invoke cb.save-params --reservation-id {BLOCK} -r sa-east-1."
    with pytest.raises(NotFoundError, match="is incomplete") as missing:
        load(FakeSsm(subnet=MANY), REGION)
    assert missing.value.why == f"Parameter Store has no {RESERVATION}."
    assert "invoke cb.list" in missing.value.do


OLD = SavedBlock(REGION, BLOCK, MANY)


def test_what_an_earlier_version_saved_is_read_with_the_rest_absent(capsys):
    assert load(FakeSsm(reservation=BLOCK, subnet=MANY), REGION) == OLD
    show_saved.saved(OLD)
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
def test_what_was_tampered_with_is_refused(name, value):
    ssm = FakeSsm()
    ssm.values = {**WRITTEN, name: value}
    with pytest.raises(InputError) as refused:
        load(ssm, REGION)
    assert refused.value.exit_status == 2
    assert name in refused.value.what
    assert repr(value) in refused.value.what


def test_a_new_end_is_saved_for_the_saved_block_only():
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
    """The variables, after a shell that had others evaluated the block."""
    shown = " ".join(f'"${{{name}-absent}}"' for name in VARIABLES)
    script = f'for name in {" ".join(VARIABLES)}; do export $name=stale; done; eval "$1"; printf "%s|" {shown}'
    seen = subprocess.run(["sh", "-euc", script, "sh", as_shell(block)], capture_output=True, text=True, check=True)
    return seen.stdout.split("|")[:-1]


def test_a_shell_reads_exactly_what_was_saved():
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


def test_a_program_reads_it_as_json():
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


def test_a_form_there_is_not_is_refused():
    assert show_saved.form("text") == "table"
    with pytest.raises(InputError, match="no output 'xml'"):
        show_saved.form("xml")
