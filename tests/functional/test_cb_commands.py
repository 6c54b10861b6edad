import json
import subprocess
from datetime import timedelta

import pytest

from tests.functional.invoking import on_a_terminal

REGION = "sa-east-1"
CTRL_D = "\x04"


def test_shell_reads_the_block_that_was_bought(invoke, bought):
    assert f"{bought} " in invoke("cb.list", "-r", REGION).out
    saved = invoke("cb.load-params", "-r", REGION, "--output", "shell").out
    script = f'{saved}\necho "$CAPACITY_RESERVATION_ID $CAPACITY_SUBNET_ID"'
    seen = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.split()
    assert seen[0] == bought
    assert seen[1].startswith("subnet-")


def in_a_shell(printed):
    """The status of `eval` in a shell that evaluates this, and the reservation it knows afterwards."""
    script = 'CAPACITY_RESERVATION_ID=older; eval "$1"; echo "$? ${CAPACITY_RESERVATION_ID-unset}"'
    return subprocess.run(["sh", "-c", script, "sh", printed], capture_output=True, text=True, check=True).stdout


def test_failed_load_unsets_the_variables_of_a_shell(invoke, bought, fail):
    assert in_a_shell(invoke("cb.load-params", "-o", "shell").out) == f"0 {bought}\n"
    assert in_a_shell(invoke("cb.load-params", "-r", "us-east-2", "-o", "shell", status=2).out) == "1 unset\n"
    assert in_a_shell(invoke("cb.load-params", "-r", "us-eats-2", "-o", "shell", status=2).out) == "1 unset\n"
    fail("GetParameters", "error", code="AccessDeniedException")
    assert in_a_shell(invoke("cb.load-params", "-o", "shell", status=2).out) == "1 unset\n"
    assert invoke("cb.load-params", "-r", "us-east-2", status=2).out == ""


def another_offering(invoke):
    words = invoke("cb.search", "-d", "48", "-r", REGION).out.split()
    return words[words.index("--offering-id") + 1]


def the_reservation(done):
    return done.err.split("Bought: ")[1].split(".")[0]


@pytest.mark.attack("buy another block while the saved one can still take instances")
def test_purchase_does_not_displace_the_saved_block(invoke, bought):
    second = invoke("cb.purchase", "--offering-id", another_offering(invoke), "--yes")
    assert f"{bought} stays saved for {REGION}: scheduled, starts in" in second.out
    assert bought in invoke("cb.load-params").out
    # An explicit save replaces it.
    done = invoke("cb.save-params", "--reservation-id", the_reservation(second))
    assert f"It replaces {bought}, which was saved for {REGION} before." in done.err


@pytest.mark.attack("have a purchase save a larger subnet without a route out")
def test_purchase_saves_the_subnet_that_has_a_way_out(invoke, proposed, ec2, ssm):
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    where = {"VpcId": vpc["VpcId"], "AvailabilityZone": "sa-east-1b", "CidrBlock": "172.31.64.0/18"}
    larger = ec2.create_subnet(**where)["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc["VpcId"])["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=larger)
    invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes")
    saved = ssm.get_parameter(Name=f"/capacity-block/{REGION}/subnet-id")["Parameter"]["Value"]
    (subnet,) = ec2.describe_subnets(SubnetIds=[saved])["Subnets"]
    assert saved != larger
    assert subnet["DefaultForAz"]
    assert subnet["AvailabilityZone"] == "sa-east-1b"


@pytest.mark.attack("buy a block with --yes that no instance can be launched on")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda ec2, control: [
                ec2.delete_subnet(SubnetId=subnet["SubnetId"]) for subnet in ec2.describe_subnets()["Subnets"]
            ],
            "has no subnet in sa-east-1b",
        ),
        (
            lambda ec2, control: control("market", {"capacity_block_quotas": {"trn2": 0}}),
            "--quota-code L-64569A79 --desired-value 12",
        ),
    ],
)
def test_block_that_no_instance_can_be_launched_on_is_not_bought(invoke, proposed, ec2, control, spoil, reason):
    spoil(ec2, control)
    buy = ("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--no-save")
    refused = invoke(*buy, "--yes", status=2).err
    assert "No instance could be launched on this block. Nothing was bought." in refused
    assert reason in refused
    assert reason in invoke(*buy, "--dry-run").err
    assert reason in on_a_terminal(buy, typed="n\n", columns=200)[1]
    assert ec2.describe_capacity_reservations()["CapacityReservations"] == []
    assert reason in invoke(*buy, "--yes", "--anyway").err
    assert len(ec2.describe_capacity_reservations()["CapacityReservations"]) == 1


def test_purchase_replaces_a_saved_block_that_is_over_and_says_so(invoke, bought, ec2, move_clock):
    (block,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    move_clock(block["EndDate"])
    offering = another_offering(invoke)
    status, shown, _ = on_a_terminal(["cb.purchase", "--offering-id", offering], typed="y\nn\n", columns=200)
    assert status == 0
    assert f"Save it to Parameter Store instead of {bought}, for invoke deploy" in shown
    # The same purchase again finds the block and saves it this time.
    done = invoke("cb.purchase", "--offering-id", offering, "--yes")
    assert f"It replaces {bought}, which was saved for {REGION} before." in done.err
    assert "It replaces" not in invoke("cb.purchase", "--offering-id", offering, "--yes").err


def test_offering_is_bought_in_its_region_without_naming_it(invoke):
    shown = json.loads(invoke("cb.search", "-t", "trn2.48xlarge", "-r", "us-east-2", "-o", "json").out)["offerings"]
    purchase = ("cb.purchase", "--offering-id", shown[0]["offeringId"], "--yes", "--no-save")
    refused = invoke(*purchase, "-r", REGION, status=2)
    assert f"is not in {REGION}" in refused.err
    assert "-r us-east-2" in refused.err
    assert " in us-east-2" in invoke(*purchase).out


def test_offering_that_deploy_cannot_use_is_not_bought(invoke, client):
    search = ("-t", "trn1.32xlarge", "-r", "us-west-2", "--count", "20", "-o", "json")
    best = json.loads(invoke("cb.search", *search).out)["unsupported"][0]
    refused = invoke("cb.purchase", "--offering-id", best["offeringId"], "--yes", "--anyway", status=2)
    assert f"Offering {best['offeringId']} was not bought: invoke deploy cannot use it." in refused.err
    assert "several segments" in refused.err
    assert client("ec2", "us-west-2").describe_capacity_reservations()["CapacityReservations"] == []


def test_block_that_cannot_be_saved_is_reported_as_bought(invoke, ec2, proposed):
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    failed = invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes", "--anyway", status=1)
    assert "is bought, but was not saved" in failed.err
    assert "create-default-subnet" in failed.err
    assert "invoke cb.save-params --reservation-id cr-" in failed.err


def test_block_that_is_being_reclaimed_is_neither_saved_nor_waited_for(invoke, bought, ec2, move_clock):
    (block,) = ec2.describe_capacity_reservations(CapacityReservationIds=[bought])["CapacityReservations"]
    move_clock(block["EndDate"] - timedelta(minutes=25))
    saved = invoke("cb.save-params", "--reservation-id", bought, "-r", REGION, status=2)
    assert f"{bought} can no longer be used: instances are being terminated" in saved.err
    waited = invoke("cb.wait", "--until", "active", "-r", REGION, status=1)
    assert "can no longer be used: it will not be active again" in waited.err


def test_shown_block_is_bought_when_the_clock_of_aws_is_far_ahead(invoke, control, ec2, move_clock):
    control("market", {"starts_soon": True})
    first = ec2.describe_capacity_block_offerings(
        InstanceType="trn2.3xlarge", InstanceCount=1, CapacityDurationHours=24
    )["CapacityBlockOfferings"][0]
    move_clock(first["StartDate"] + timedelta(days=5))
    shown = json.loads(invoke("cb.search", "-r", REGION, "-o", "json").out)["offerings"]
    soonest = min(shown, key=lambda offering: offering["start"])
    done = invoke("cb.purchase", "--offering-id", soonest["offeringId"], "-r", REGION, "--yes", "--no-save")
    assert "is yours" in done.out


def test_purchase_without_saving_saves_nothing(invoke, proposed):
    invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--yes", "--no-save")
    assert "No Capacity Block is saved" in invoke("cb.load-params", "-r", REGION, status=2).err


def test_dry_run_buys_nothing(invoke, proposed):
    done = invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--dry-run")
    assert "It is on sale, and you may buy it (dry run). Nothing was bought." in done.out
    assert "53.64 USD" in done.out
    assert invoke("cb.list", "-r", REGION).out == f"No Capacity Block in {REGION}.\n"


def test_price_above_the_limit_is_refused(invoke, proposed):
    refused = invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, "--max-price", "50", status=2)
    assert "costs 53.64 USD, more than --max-price 50" in refused.err
    assert invoke("cb.list", "-r", REGION).out == f"No Capacity Block in {REGION}.\n"


def test_purchase_without_a_terminal_buys_nothing(invoke, proposed):
    assert "Add --yes" in invoke("cb.purchase", "--offering-id", proposed[0], "-r", REGION, status=2).err
    assert invoke("cb.list", "-r", REGION).out == f"No Capacity Block in {REGION}.\n"


@pytest.mark.parametrize(
    ("answers", "status", "message"),
    [
        ("n\n", 0, "Nothing was bought."),
        ("No\n", 0, "Nothing was bought."),
        ("what?\nyes\nno\n", 0, "is yours"),
        ("y\ny\n", 0, "is yours"),
        ("y\nn\n", 0, "is yours"),
        (CTRL_D, 2, "Cancelled. Nothing was bought."),
        (f"y\n{CTRL_D}", 1, "is bought, but was not saved to Parameter Store."),
    ],
)
def test_question_on_a_terminal_names_the_price_and_obeys_the_answer(invoke, proposed, answers, status, message):
    purchase = ["cb.purchase", "--offering-id", proposed[0], "-r", REGION]
    ended, shown, _ = on_a_terminal(purchase, typed=answers)
    assert "Buy this block for 53.64 USD?" in shown
    assert message in shown
    assert ended == status
    assert ("Parameter Store has" in shown) == (answers == "y\ny\n")


@pytest.mark.attack("A newcomer types y and Enter before cb.purchase shows the price")
def test_yes_typed_before_the_price_is_shown_buys_nothing(invoke, proposed):
    purchase = ["cb.purchase", "--offering-id", proposed[0], "-r", REGION]
    ended, shown, _ = on_a_terminal(purchase, ahead="y\n" * 5, typed="n\n")
    assert "Buy this block for 53.64 USD?" in shown
    assert (ended, "Nothing was bought." in shown) == (0, True)
    assert invoke("cb.list", "-r", REGION).out == f"No Capacity Block in {REGION}.\n"
