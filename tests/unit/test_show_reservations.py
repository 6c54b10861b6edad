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
    KnowingEc2,
    everything,
)
from torchneuron.capacity_blocks import details, reservations, show_reservations
from torchneuron.core.errors import InputError

EXTRAS = {"DescribeInstances", "DescribeCapacityBlockStatus", "DescribeCapacityBlockExtensionHistory"}


def denied():
    ec2 = everything()
    ec2.denied = set(EXTRAS)
    return ec2


def listed(ec2, *, width=0, form="table"):
    found = details.of_blocks(ec2, REGION)
    return golden.printed(lambda: show_reservations.listed(found, REGION, form), width=width)


def described(ec2, reservation_id, *, form="table"):
    found = details.of_one(ec2, REGION, reservation_id)
    return golden.printed(lambda: show_reservations.described(found, form))


@pytest.mark.parametrize("width", [80, 120, 0])
@pytest.mark.parametrize(("name", "ec2"), [("everything", everything), ("denied", denied)])
def test_a_list_is_shown_as_it_was_read_by_a_person(name, ec2, width, in_zone):
    in_zone("BRT+3")
    golden.check(f"list-{name}-{width or 'piped'}.txt", listed(ec2(), width=width))


@pytest.mark.parametrize("name", EVERY)
def test_one_reservation_is_shown_as_it_was_read_by_a_person(name, in_zone):
    in_zone("BRT+3")
    golden.check(f"describe-{name}.txt", described(everything(), EVERY[name]["CapacityReservationId"]))


def test_what_is_not_readable_is_said_in_its_place(in_zone):
    in_zone("BRT+3")
    golden.check("describe-denied.txt", described(denied(), ACTIVE["CapacityReservationId"]))


def test_for_programs_it_is_json_as_it_was_read_by_a_person(in_zone):
    in_zone("BRT+3")
    golden.check("list-everything.json", listed(everything(), form="json"))
    golden.check("describe-active.json", described(everything(), ACTIVE["CapacityReservationId"], form="json"))
    together = ULTRASERVERS["CapacityReservationId"]
    golden.check("describe-ultraservers.json", described(everything(), together, form="json"))
    golden.check("describe-on-demand.json", described(everything(), ON_DEMAND["CapacityReservationId"], form="json"))
    golden.check("describe-denied.json", described(denied(), ACTIVE["CapacityReservationId"], form="json"))


def test_json_has_the_same_names_for_everything():
    document = json.loads(listed(everything(), form="json"))
    names = {tuple(one) for one in document["reservations"]}
    assert len(names) == 1
    assert all(re.fullmatch(r"[a-z][a-zA-Z]+", name) for name in names.pop())


def test_an_empty_list_says_so():
    assert listed(KnowingEc2()) == "No Capacity Block in sa-east-1.\n"
    assert json.loads(listed(KnowingEc2(), form="json")) == {"region": REGION, "reservations": []}


@pytest.mark.parametrize("zone", ["UTC", "BRT+3", "NZDT-13"])
@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_line_is_wider_than_the_terminal_and_no_date_is_broken(width, zone, in_zone):
    in_zone(zone)
    text = listed(everything(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "2026-01-12 11:30" in text


def test_another_way_to_print_is_refused_with_those_there_are():
    assert show_reservations.form("json") == "json"
    with pytest.raises(InputError, match="There is no --output 'jsno'") as refused:
        show_reservations.form("jsno")
    assert "json" in refused.value.why


def test_a_price_tag_that_says_nothing_is_left_to_the_bill(in_zone):
    in_zone("UTC")
    block = {**SCHEDULED, "Tags": [{"Key": "torchneuron:upfront-fee", "Value": "a lot"}]}
    assert "see the AWS bill" in described(KnowingEc2(block), block["CapacityReservationId"])


def test_what_is_cancelled_says_that_its_instances_are_not(capsys):
    one = reservations.describe(everything(), REGION, ON_DEMAND["CapacityReservationId"])
    show_reservations.cancelled(one, True)
    assert "run on, as on-demand instances" in capsys.readouterr().out


def test_what_had_ended_already_is_said_to(capsys):
    one = reservations.describe(everything(), REGION, UNPAID["CapacityReservationId"])
    show_reservations.cancelled(one, False)
    assert capsys.readouterr().out == ("cr-00000000000000005 is payment-failed already: there is nothing to cancel.\n")


def test_the_question_shows_what_would_be_cancelled_beside_the_result(capsys):
    one = reservations.describe(everything(), REGION, ON_DEMAND["CapacityReservationId"])
    assert show_reservations.cancellation(yes=True)(one)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "2 x trn2.3xlarge on demand in sa-east-1b, 1 free; active: until cancelled." in seen.err
    with pytest.raises(InputError) as nobody:
        show_reservations.cancellation()(one)
    assert "--yes" in nobody.value.do
