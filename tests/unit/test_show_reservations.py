import json
import re

import pytest

from tests.unit import golden
from tests.unit.capacity_fakes import REGION
from tests.unit.reservations_support import (
    ACTIVE,
    EVERY,
    ON_DEMAND,
    SCHEDULED,
    ULTRASERVERS,
    UNPAID,
    DetailedEc2,
    everything,
)
from torchneuron.capacity_blocks import details, reservations, show_reservations
from torchneuron.core.errors import InputError

EXTRAS = {"DescribeInstances", "DescribeCapacityBlockStatus", "DescribeCapacityBlockExtensionHistory"}


def denied():
    ec2 = everything()
    ec2.denied = set(EXTRAS)
    return ec2


def listed(ec2, *, width=0, output="table"):
    found = details.list_blocks(ec2, REGION)
    return golden.printed(lambda: show_reservations.show_list(found, REGION, output), width=width)


def described(ec2, reservation_id, *, output="table"):
    found = details.describe(ec2, REGION, reservation_id)
    return golden.printed(lambda: show_reservations.show_one(found, output))


@pytest.mark.parametrize("width", [80, 120, 0])
@pytest.mark.parametrize(("name", "ec2"), [("everything", everything), ("denied", denied)])
def test_list_matches_the_golden_file(name, ec2, width, in_zone):
    in_zone("BRT+3")
    golden.check(f"list-{name}-{width or 'piped'}.txt", listed(ec2(), width=width))


@pytest.mark.parametrize("name", EVERY)
def test_reservation_matches_the_golden_file(name, in_zone):
    in_zone("BRT+3")
    golden.check(f"describe-{name}.txt", described(everything(), EVERY[name]["CapacityReservationId"]))


def test_unreadable_data_is_shown_in_its_place(in_zone):
    in_zone("BRT+3")
    golden.check("describe-denied.txt", described(denied(), ACTIVE["CapacityReservationId"]))


def test_json_matches_the_golden_files(in_zone):
    in_zone("BRT+3")
    golden.check("list-everything.json", listed(everything(), output="json"))
    golden.check("describe-active.json", described(everything(), ACTIVE["CapacityReservationId"], output="json"))
    together = ULTRASERVERS["CapacityReservationId"]
    golden.check("describe-ultraservers.json", described(everything(), together, output="json"))
    golden.check("describe-on-demand.json", described(everything(), ON_DEMAND["CapacityReservationId"], output="json"))
    golden.check("describe-denied.json", described(denied(), ACTIVE["CapacityReservationId"], output="json"))


def test_json_has_the_same_names_for_every_reservation():
    document = json.loads(listed(everything(), output="json"))
    names = {tuple(reservation) for reservation in document["reservations"]}
    assert len(names) == 1
    assert all(re.fullmatch(r"[a-z][a-zA-Z]+", name) for name in names.pop())


def test_empty_list_says_so():
    assert listed(DetailedEc2()) == "No Capacity Block in sa-east-1.\n"
    assert json.loads(listed(DetailedEc2(), output="json")) == {"region": REGION, "reservations": []}


@pytest.mark.parametrize("zone", ["UTC", "BRT+3", "NZDT-13"])
@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_line_is_wider_than_the_terminal_and_no_date_is_broken(width, zone, in_zone):
    in_zone(zone)
    text = listed(everything(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "2026-01-12 11:30" in text


def test_unknown_output_is_refused_with_the_known_ones():
    assert show_reservations.check_output("json") == "json"
    with pytest.raises(InputError, match="There is no --output 'jsno'") as refused:
        show_reservations.check_output("jsno")
    assert "json" in refused.value.why


def test_unreadable_price_tag_refers_to_the_bill(in_zone):
    in_zone("UTC")
    block = {**SCHEDULED, "Tags": [{"Key": "torchneuron:upfront-fee", "Value": "a lot"}]}
    assert "see the AWS bill" in described(DetailedEc2(block), block["CapacityReservationId"])


def test_cancellation_says_that_instances_keep_running(capsys):
    reservation = reservations.describe(everything(), REGION, ON_DEMAND["CapacityReservationId"])
    show_reservations.show_cancelled(reservation, True)
    assert "keep running, as on-demand instances" in capsys.readouterr().out


def test_cancellation_of_an_ended_reservation_says_so(capsys):
    reservation = reservations.describe(everything(), REGION, UNPAID["CapacityReservationId"])
    show_reservations.show_cancelled(reservation, False)
    assert capsys.readouterr().out == ("cr-00000000000000005 is payment-failed already: there is nothing to cancel.\n")


def test_question_shows_what_would_be_cancelled_on_stderr(capsys):
    reservation = reservations.describe(everything(), REGION, ON_DEMAND["CapacityReservationId"])
    assert show_reservations.confirm_cancellation(yes=True)(reservation)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "2 x trn2.3xlarge on demand in sa-east-1b, 1 free; active: until cancelled." in seen.err
    with pytest.raises(InputError) as refused:
        show_reservations.confirm_cancellation()(reservation)
    assert "--yes" in refused.value.do
