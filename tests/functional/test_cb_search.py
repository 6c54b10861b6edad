"""`cb.search`: several searches at once, refusals, and output for programs."""

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
from torchneuron.capacity_blocks.rules import SearchRequest
from torchneuron.core.errors import InputError, TorchNeuronError

ROOT = Path(__file__).resolve().parents[2]
REGION = "sa-east-1"
PROPOSAL = re.compile(r"^  invoke cb\.purchase --offering-id (cb-\w{17}) --start-time (\S+Z) -r (\S+)$", re.MULTILINE)
# The rehearsal sells as many in two zones together, and in neither alone.
SEGMENTED = ("-t", "trn1.32xlarge", "--count", "20", "-r", "us-west-2")


@pytest.fixture
def market(control):
    """Set the market's behaviour."""
    return lambda **settings: control("market", settings)


@pytest.fixture
def found(invoke):
    """The JSON output of `cb.search`."""
    return lambda *arguments: json.loads(invoke("cb.search", *arguments, "--output", "json").out)


def test_offerings_are_sorted_by_price_per_usable_hour(aws):
    found = offerings.search(aws.ec2(), SearchRequest("trn2.3xlarge", 24, 1, REGION))
    assert found[0].zone == "sa-east-1b"
    assert found[0].fee == Decimal("53.64")
    assert found[0].usable == timedelta(hours=23, minutes=30)
    assert found == sorted(found, key=lambda offering: (offering.price_per_usable_hour, offering.start))


def test_find_returns_the_offering_with_the_id(aws):
    request = SearchRequest("trn2.3xlarge", 48, 2, REGION)
    last = offerings.search(aws.ec2(), request)[-1]
    assert offerings.find(aws.ec2(), last.id, request) == last


@pytest.mark.parametrize("instance_type", ["inf2.xlarge", "trn1.32xlarge"])
def test_type_not_sold_in_the_region_is_refused(aws, instance_type):
    with pytest.raises(InputError, match=f"does not sell {instance_type}"):
        offerings.search(aws.ec2(), SearchRequest(instance_type, 24, 1, REGION))


def test_search_proposes_to_buy_the_first_offering(invoke, found):
    shown = invoke("cb.search").out
    best = found()["offerings"][0]
    assert PROPOSAL.findall(shown) == [(best["offeringId"], best["start"], REGION)]
    assert "When instances can run, in UTC:" in shown
    assert all(offering["offeringId"] in shown for offering in found()["offerings"])


def test_several_types_durations_and_regions_are_searched_at_once(found):
    everything = found("-t", "trn2.3xlarge,trn1.32xlarge", "-d", "24", "-r", f"{REGION},us-west-2")
    assert {(item["region"], item["instanceType"]) for item in everything["offerings"]} == {
        (REGION, "trn2.3xlarge"),
        ("us-west-2", "trn1.32xlarge"),
    }
    assert {(item["region"], item["instanceType"]) for item in everything["refused"]} == {
        (REGION, "trn1.32xlarge"),
        ("us-west-2", "trn2.3xlarge"),
    }
    prices = [Decimal(item["pricePerUsableHour"]) for item in everything["offerings"]]
    assert prices == sorted(prices)
    days = found("-d", "48,24", "-r", f"{REGION},ap-southeast-4")
    assert {(item["region"], item["paidHours"]) for item in days["offerings"]} == {
        (region, hours) for region in (REGION, "ap-southeast-4") for hours in (24, 48)
    }


def test_all_regions_are_the_enabled_ones(invoke, found, ec2):
    everywhere = found("-r", "all")
    enabled = {item["RegionName"] for item in ec2.describe_regions()["Regions"]}
    assert set(everywhere["regions"]) <= enabled
    assert {item["region"] for item in everywhere["offerings"]} == {REGION, "ap-southeast-4"}
    assert invoke("cb.search", "-r", "all").err == ""


def test_regions_that_do_not_sell_the_type_are_reported(invoke):
    done = invoke("cb.search", "-r", f"us-east-2,{REGION}")
    assert done.err == "trn2.3xlarge is not sold in: us-east-2\n"
    assert f"1 x trn2.3xlarge for 1 day in {REGION}." in done.out


def test_proposed_command_buys_the_first_offering(invoke, ec2):
    ((offering, start, region),) = PROPOSAL.findall(invoke("cb.search", "-d", "48", "--count", "2").out)
    command = ("cb.purchase", "--offering-id", offering, "--start-time", start, "-r", region, "--yes", "--no-save")
    invoke(*command)
    (bought,) = ec2.describe_capacity_reservations()["CapacityReservations"]
    assert bought["StartDate"].strftime("%FT%RZ") == start.replace(":00Z", "Z")
    assert bought["EndDate"] - bought["StartDate"] == timedelta(hours=48)


def test_dates_limit_the_search(found):
    starts = [item["start"] for item in found()["offerings"]]
    earliest, latest = sorted(starts)[1], sorted(starts)[-2]
    between = found("--start-after", earliest, "--start-before", latest)["offerings"]
    assert between
    assert all(earliest <= item["start"] <= latest for item in between)
    assert earliest in [item["start"] for item in between]


def test_offerings_above_the_maximum_price_are_left_out_and_counted(invoke, found):
    assert found("-d", "24,48", "--max-price", "60")["offerings"][0]["fee"] == "53.64"
    done = invoke("cb.search", "--max-price", "50")
    assert "No Capacity Block on sale: 1 x trn2.3xlarge for 1 day in sa-east-1, for at most 50." in done.out
    assert re.search(r"^On sale above --max-price 50: \d, from 53\.64 USD\.$", done.out, re.MULTILINE)


def test_empty_result_proposes_other_options(invoke):
    done = invoke("cb.search", "--count", "64")
    assert done.out == (
        "No Capacity Block on sale: 64 x trn2.3xlarge for 1 day in sa-east-1.\n"
        "Try another duration (-d), a smaller count (--count) or other regions (-r all),"
        " or add --suggest to search nearby.\n"
    )


def test_suggested_command_finds_the_suggested_offering(invoke):
    done = invoke("cb.search", "--count", "5", "--suggest")
    assert "No Capacity Block on sale: 5 x" in done.out
    command = re.search(r"^    invoke (cb\.search .*--count 1)$", done.out, re.MULTILINE)
    assert command
    assert PROPOSAL.search(invoke(*command[1].split()).out)


def test_suggestions_include_regions_that_sell_the_type(found):
    suggested = found("-r", "us-east-2", "--suggest")
    assert suggested["offerings"] == []
    assert sorted(item["region"] for item in suggested["suggestions"]) == ["ap-southeast-4", REGION]
    assert [item["region"] for item in suggested["refused"]] == ["us-east-2"]


@pytest.mark.parametrize("arguments", [("-r", "us-east-2"), ("-t", "inf2.xlarge", "-r", f"{REGION},us-east-2")])
def test_type_sold_in_none_of_the_regions_is_refused(invoke, arguments):
    done = invoke("cb.search", *arguments, status=2)
    assert done.out == ""
    assert "us-east-2" in done.err
    assert "trn2.3xlarge is sold in sa-east-1" in done.err


def test_csv_has_the_offerings_of_json(invoke, found):
    text = invoke("cb.search", "-d", "24,48", "--output", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["offeringId"] for row in rows] == [item["offeringId"] for item in found("-d", "24,48")["offerings"]]
    assert {row["paidHours"] for row in rows} == {"24", "48"}
    assert all(Decimal(row["fee"]) > 0 for row in rows)
    assert invoke("cb.search", "--count", "64", "--output", "csv").out == text.splitlines(keepends=True)[0]


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_piped_output_has_only_the_result(invoke, output):
    done = invoke("cb.search", "--output", output)
    assert done.err == ""
    assert "\x1b" not in done.out
    assert "Searching" not in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", "25"), "Nearest: 24 (1 day) or 48 (2 days)"),
        (("-d", "24,x"), "'x' is not a whole number"),
        (("--count", "65"), "cannot have 65 instances"),
        (("-r", f"{REGION},mars-1"), "AWS has no region 'mars-1'"),
        (("-t", "trn2"), "'trn2' is not an instance type"),
        (("--max-price", "free"), "'free' is not a price"),
        (("--start-after", "soon"), "'soon' is not a time"),
        (("--output", "xml"), "no output 'xml'"),
        (("--suggest", "--output", "csv"), "--suggest cannot be combined with --output csv"),
    ],
)
def test_invalid_option_is_refused_before_any_call(invoke, market, arguments, message):
    market(searches={"burst": 0})
    done = invoke("cb.search", *arguments, status=2)
    assert message in done.err
    assert done.out == ""


def test_throttled_search_is_retried(found, market):
    market(searches={"burst": 1, "per_second": 1})
    everything = found("-d", "24,48", "-r", f"{REGION},ap-southeast-4")
    assert len({(item["region"], item["paidHours"]) for item in everything["offerings"]}) == 4
    assert everything["refused"] == []


def test_persistent_rate_limit_error_names_the_quota(aws, market):
    market(searches={"burst": 0})
    paused: list[float] = []
    with pytest.raises(TorchNeuronError, match="Rate limit reached") as limited:
        offerings.search(aws.ec2(wait=paused.append), SearchRequest("trn2.3xlarge", 24, 1, REGION))
    assert "L-64569A79" in limited.value.do
    assert limited.value.exit_status == 1
    assert len(paused) == 4


def test_offerings_of_several_segments_are_left_out_with_the_reason(invoke, found):
    results = found(*SEGMENTED)
    assert results["offerings"] == []
    assert results["unsupported"]
    assert {offering["instanceCount"] for offering in results["unsupported"]} == {20}
    reason = "It has several segments, each its own reservation; invoke deploy launches on one reservation."
    assert {offering["reason"] for offering in results["unsupported"]} == {reason}
    done = invoke("cb.search", *SEGMENTED)
    assert done.err == f"Offerings left out: {len(results['unsupported'])}. {reason}\n"
    assert "No Capacity Block on sale: 20 x trn1.32xlarge" in done.out
    assert "cb.purchase" not in done.out


@pytest.mark.parametrize("name", ["u-trn2x64", "trn2u.48xlarge"])
def test_ultraserver_is_refused_with_the_reason(invoke, name):
    refused = invoke("cb.search", "-t", name, "-r", "us-east-2", status=2)
    assert f"Error: '{name}' is for UltraServers, which invoke deploy cannot use." in refused.err
    assert "aws ec2 describe-capacity-block-offerings --ultraserver-type" in refused.err


def test_local_zones_are_searched_on_request(found):
    assert found("--all-zones")["offerings"] == found()["offerings"]


def test_blocks_that_start_soon_are_paid_by_the_minute(found, market):
    market(starts_soon=True)
    soon = [item for item in found()["offerings"] if not item["start"].endswith("11:30:00Z")]
    assert soon
    assert all(item["end"].endswith("11:30:00Z") and item["paidHours"] != 24 for item in soon)


@pytest.mark.parametrize("columns", [80, 120])
def test_table_fits_the_terminal_and_the_command_is_one_line(rehearsal_endpoint, config, columns):
    status, shown, _ = on_a_terminal(["cb.search"], columns)
    assert status == 0
    table = [line for line in shown.splitlines() if line[:1] in "┏┃┡│├└" and line]
    assert len({len(line) for line in table}) == 1
    assert 60 < len(table[0]) <= columns
    assert PROPOSAL.search(shown)


def test_progress_is_on_the_terminal_and_the_result_in_the_pipe(rehearsal_endpoint, config):
    status, watched, piped = on_a_terminal(["cb.search", "-d", "24,48,72", "--output", "json"], 100, pipe=True)
    assert status == 0
    assert f"Searching in {REGION}: 2 of 3" in watched
    assert {item["paidHours"] for item in json.loads(piped)["offerings"]} == {24, 48, 72}


def test_ctrl_c_ends_a_search_without_response(rehearsal_endpoint, config, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        command = [sys.executable, "-m", "invoke", "cb.search", "-r", f"{REGION},us-east-2"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            silent.accept()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=120)
    assert (process.returncode, told.strip()) == (130, "Interrupted. Run the same command again to resume.")


def test_closed_pipe_is_not_an_error(rehearsal_endpoint, config):
    search = f"{sys.executable} -m invoke cb.search -r all -t trn1.32xlarge,trn2.3xlarge"
    done = subprocess.run(["sh", "-c", f"{search} | head -1"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
