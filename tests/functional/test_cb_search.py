"""What is on sale, as `cb.search` finds it: several searches at once, refusals, and forms for programs."""

import csv
import io
import json
import re
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.functional.invoking import on_a_terminal
from torchneuron.capacity_blocks import offerings
from torchneuron.capacity_blocks.search_request import SearchRequest
from torchneuron.core.errors import InputError, TorchNeuronError

ROOT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
PROPOSAL = re.compile(r"^  invoke cb\.purchase --offering-id (cb-\w{17}) --start-time (\S+Z) -r (\S+)$", re.MULTILINE)
# The rehearsal has as many in two zones together, and in neither alone.
SEGMENTED = ("-t", "trn1.32xlarge", "--count", "20", "-r", "us-west-2")
ULTRASERVERS = ("--ultraserver", "u-trn2x64", "-r", "us-east-2")


@pytest.fixture
def market(control):
    """Sets how the market behaves."""
    return lambda **settings: control("market", settings)


@pytest.fixture
def found(invoke):
    """What `cb.search` finds, as a program reads it."""
    return lambda *arguments: json.loads(invoke("cb.search", *arguments, "--output", "json").out)


def test_blocks_on_sale_are_found_cheapest_first(aws):
    found = offerings.search(aws.ec2(), SearchRequest("trn2.3xlarge", 24, 1, REGION))
    assert found[0].zone == "sa-east-1b"
    assert found[0].fee == Decimal("53.64")
    assert found[0].usable == timedelta(hours=23, minutes=30)
    assert found == sorted(found, key=lambda one: (one.price_per_usable_hour, one.start))


def test_an_offering_is_found_again_by_its_id(aws):
    request = SearchRequest("trn2.3xlarge", 48, 2, REGION)
    last = offerings.search(aws.ec2(), request)[-1]
    assert offerings.find(aws.ec2(), last.id, request) == last


@pytest.mark.parametrize("instance_type", ["inf2.xlarge", "trn1.32xlarge"])
def test_a_type_that_is_not_sold_in_the_region_is_bad_input(aws, instance_type):
    with pytest.raises(InputError, match=f"does not sell {instance_type}"):
        offerings.search(aws.ec2(), SearchRequest(instance_type, 24, 1, REGION))


def test_a_search_proposes_the_cheapest_usable_hour(invoke, found):
    shown = invoke("cb.search").out
    best = found()["offerings"][0]
    assert PROPOSAL.findall(shown) == [(best["offeringId"], best["start"], REGION)]
    assert "When instances can run, in UTC:" in shown
    assert all(one["offeringId"] in shown for one in found()["offerings"])


def test_several_types_durations_and_regions_are_searched_in_one_go(found):
    everything = found("-t", "trn2.3xlarge,trn1.32xlarge", "-d", "24", "-r", f"{REGION},us-west-2")
    assert {(one["region"], one["instanceType"]) for one in everything["offerings"]} == {
        (REGION, "trn2.3xlarge"),
        ("us-west-2", "trn1.32xlarge"),
    }
    assert {(one["region"], one["instanceType"]) for one in everything["refused"]} == {
        (REGION, "trn1.32xlarge"),
        ("us-west-2", "trn2.3xlarge"),
    }
    prices = [Decimal(one["pricePerUsableHour"]) for one in everything["offerings"]]
    assert prices == sorted(prices)
    days = found("-d", "48,24", "-r", f"{REGION},ap-southeast-4")
    assert {(one["region"], one["paidHours"]) for one in days["offerings"]} == {
        (region, hours) for region in (REGION, "ap-southeast-4") for hours in (24, 48)
    }


def test_all_regions_are_those_that_are_enabled(invoke, found, ec2):
    everywhere = found("-r", "all")
    enabled = {one["RegionName"] for one in ec2.describe_regions()["Regions"]}
    assert set(everywhere["regions"]) <= enabled
    assert {one["region"] for one in everywhere["offerings"]} == {REGION, "ap-southeast-4"}
    assert invoke("cb.search", "-r", "all").err == ""


def test_regions_that_do_not_sell_a_type_are_told_and_the_others_shown(invoke):
    done = invoke("cb.search", "-r", f"us-east-2,{REGION}")
    assert done.err == "trn2.3xlarge is not sold in: us-east-2\n"
    assert f"1 x trn2.3xlarge for 1 day in {REGION}." in done.out


def test_what_is_bought_is_what_was_proposed(invoke, ec2):
    ((offering, start, region),) = PROPOSAL.findall(invoke("cb.search", "-d", "48", "--count", "2").out)
    command = ("cb.purchase", "--offering-id", offering, "--start-time", start, "-r", region, "--yes", "--no-save")
    invoke(*command)
    (bought,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert bought["StartDate"].strftime("%FT%RZ") == start.replace(":00Z", "Z")
    assert bought["EndDate"] - bought["StartDate"] == timedelta(hours=48)


def test_dates_narrow_the_search(found):
    starts = [one["start"] for one in found()["offerings"]]
    earliest, latest = sorted(starts)[1], sorted(starts)[-2]
    between = found("--start-after", earliest, "--start-before", latest)["offerings"]
    assert between
    assert all(earliest <= one["start"] <= latest for one in between)
    assert earliest in [one["start"] for one in between]


def test_what_costs_more_is_left_out_and_counted(invoke, found):
    assert found("-d", "24,48", "--max-price", "60")["offerings"][0]["fee"] == "53.64"
    done = invoke("cb.search", "--max-price", "50")
    assert "No Capacity Block on sale: 1 x trn2.3xlarge for 1 day in sa-east-1, for at most 50." in done.out
    assert re.search(r"^On sale above --max-price 50: \d, from 53\.64 USD\.$", done.out, re.MULTILINE)


def test_where_nothing_is_on_sale_that_is_said_with_what_may_help(invoke):
    done = invoke("cb.search", "--count", "64")
    assert done.out == (
        "No Capacity Block on sale: 64 x trn2.3xlarge for 1 day in sa-east-1.\n"
        "There may be one for another duration (-d), a smaller count (--count) or other regions (-r all);"
        " --suggest searches those nearby.\n"
    )


def test_what_is_suggested_can_be_found_by_the_command_it_comes_with(invoke):
    done = invoke("cb.search", "--count", "5", "--suggest")
    assert "No Capacity Block on sale: 5 x" in done.out
    command = re.search(r"^    invoke (cb\.search .*--count 1)$", done.out, re.MULTILINE)
    assert command
    assert PROPOSAL.search(invoke(*command[1].split()).out)


def test_a_type_sold_elsewhere_is_suggested_there(found):
    suggested = found("-r", "us-east-2", "--suggest")
    assert suggested["offerings"] == []
    assert sorted(one["region"] for one in suggested["suggestions"]) == ["ap-southeast-4", REGION]
    assert [one["region"] for one in suggested["refused"]] == ["us-east-2"]


@pytest.mark.parametrize("arguments", [("-r", "us-east-2"), ("-t", "inf2.xlarge", "-r", f"{REGION},us-east-2")])
def test_what_is_sold_nowhere_asked_is_bad_input(invoke, arguments):
    done = invoke("cb.search", *arguments, status=2)
    assert done.out == ""
    assert "us-east-2" in done.err
    assert "trn2.3xlarge is sold in sa-east-1" in done.err


def test_csv_has_what_json_has(invoke, found):
    text = invoke("cb.search", "-d", "24,48", "--output", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["offeringId"] for row in rows] == [one["offeringId"] for one in found("-d", "24,48")["offerings"]]
    assert {row["paidHours"] for row in rows} == {"24", "48"}
    assert all(Decimal(row["fee"]) > 0 for row in rows)
    assert invoke("cb.search", "--count", "64", "--output", "csv").out == text.splitlines(keepends=True)[0]


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_in_a_pipe_there_is_nothing_but_the_result(invoke, output):
    done = invoke("cb.search", "--output", output)
    assert done.err == ""
    assert "\x1b" not in done.out
    assert "Searching" not in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-d", "25"), "Nearest: 24 (1 day) or 48 (2 days)"),
        (("-d", "24,x"), "'x' is not a whole number"),
        (("--count", "65"), "cannot have 65 instances"),
        (("-r", f"{REGION},mars-1"), "AWS has no region 'mars-1'"),
        (("-t", "trn2"), "'trn2' is not an instance type"),
        (("--max-price", "free"), "'free' is not a price"),
        (("--start-after", "soon"), "'soon' is not a time"),
        (("--output", "xml"), "no output 'xml'"),
        (("--ultraserver", "u-trn2x64", "-t", "trn2.3xlarge"), "don't go together"),
    ],
)
def test_what_cannot_be_is_refused_before_any_call(invoke, market, arguments, told):
    market(searches={"burst": 0})
    done = invoke("cb.search", *arguments, status=2)
    assert told in done.err
    assert done.out == ""


def test_searches_that_come_too_fast_are_repeated(found, market):
    market(searches={"burst": 1, "per_second": 1})
    everything = found("-d", "24,48", "-r", f"{REGION},ap-southeast-4")
    assert len({(one["region"], one["paidHours"]) for one in everything["offerings"]}) == 4
    assert everything["refused"] == []


def test_a_limit_that_persists_is_explained_with_the_quota(aws, market):
    market(searches={"burst": 0})
    paused: list[float] = []
    with pytest.raises(TorchNeuronError, match="no further for now") as limited:
        offerings.search(aws.ec2(wait=paused.append), SearchRequest("trn2.3xlarge", 24, 1, REGION))
    assert "L-64569A79" in limited.value.do
    assert limited.value.exit_status == 1
    assert len(paused) == 4


def test_segments_are_shown_with_their_zones_and_prices(invoke, found):
    best = found(*SEGMENTED)["offerings"][0]
    assert {part["zone"] for part in best["segments"]} == {"us-west-2b", "us-west-2d"}
    assert sum(part["instanceCount"] for part in best["segments"]) == best["instanceCount"] == 20
    assert sum(Decimal(part["fee"]) for part in best["segments"]) == Decimal(best["fee"])
    done = invoke("cb.search", *SEGMENTED)
    assert "2 segments" in done.out
    assert re.search(r"segment 1 .* 12 x trn1\.32xlarge .* us-west-2b ", done.out)
    assert PROPOSAL.search(done.out)[1] == best["offeringId"]


def test_ultraservers_are_found_by_those_who_may_buy_them(invoke, found, market):
    refused = invoke("cb.search", *ULTRASERVERS, status=2)
    assert "does not sell UltraServers to this account in us-east-2" in refused.err
    market(ultraservers=True)
    best = found(*ULTRASERVERS)["offerings"][0]
    assert (best["ultraserverType"], best["ultraserverCount"], best["usableHours"]) == ("u-trn2x64", 1, 23)
    done = invoke("cb.search", *ULTRASERVERS)
    assert "1 x u-trn2x64" in done.out
    assert PROPOSAL.search(done.out)[1] == best["offeringId"]


def test_a_mistyped_ultraserver_is_told_which_there_are(invoke, market):
    market(ultraservers=True)
    refused = invoke("cb.search", "--ultraserver", "u-trn2x65", "-r", "us-east-2", status=2)
    assert "u-trn2x64" in refused.err
    assert "trn2.3xlarge" not in refused.err


def test_local_zones_are_searched_on_request_only(invoke, found, market):
    market(ultraservers=True)
    local = ("--ultraserver", "u-p6e-gb200x72", "-r", "us-east-1")
    assert {one["zoneType"] for one in found(*local, "--all-zones")["offerings"]} == {"local-zone"}
    assert found(*local)["offerings"] == []
    assert "opt in to the zone before you buy" in invoke("cb.search", *local, "--all-zones").out


def test_blocks_that_start_soon_are_paid_to_the_minute(found, market):
    market(starts_soon=True)
    soon = [one for one in found()["offerings"] if not one["start"].endswith("11:30:00Z")]
    assert soon
    assert all(one["end"].endswith("11:30:00Z") and one["paidHours"] != 24 for one in soon)


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_table_fits_and_the_command_stays_whole(rehearsal_endpoint, config, columns):
    status, shown, _ = on_a_terminal(["cb.search"], columns)
    assert status == 0
    table = [line for line in shown.splitlines() if line[:1] in "┏┃┡│├└" and line]
    assert len({len(line) for line in table}) == 1
    assert 60 < len(table[0]) <= columns
    assert PROPOSAL.search(shown)


def test_progress_goes_to_the_terminal_and_the_result_into_the_pipe(rehearsal_endpoint, config):
    status, watched, piped = on_a_terminal(["cb.search", "-d", "24,48,72", "--output", "json"], 100, pipe=True)
    assert status == 0
    assert f"Searching in {REGION}: 2 of 3" in watched
    assert {one["paidHours"] for one in json.loads(piped)["offerings"]} == {24, 48, 72}


def test_ctrl_c_ends_a_search_that_nobody_answers(rehearsal_endpoint, config, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        command = [sys.executable, "-m", "invoke", "cb.search", "-r", f"{REGION},us-east-2"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            silent.accept()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=120)
    assert (process.returncode, told.strip()) == (130, "Interrupted. The same command takes up where it stopped.")


def test_a_reader_who_has_seen_enough_is_no_error(rehearsal_endpoint, config):
    search = f"{sys.executable} -m invoke cb.search -r all -t trn1.32xlarge,trn2.3xlarge"
    done = subprocess.run(["sh", "-c", f"{search} | head -1"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
