"""The price of an on-demand launch, from the rehearsal's price list."""

import json
from decimal import Decimal

import pytest

from torchneuron.aws.session import Aws
from torchneuron.core.errors import Declined, InputError
from torchneuron.deploy.on_demand import confirm, hourly_price


@pytest.fixture
def in_ohio(rehearsal_endpoint):
    return Aws("us-east-2")


def test_price_of_an_instance_hour_is_the_list_price(in_ohio, client):
    assert hourly_price(in_ohio, "trn1.32xlarge") == Decimal("21.5")
    assert hourly_price(in_ohio, "trn2.48xlarge") is None
    listed = client("pricing", "us-east-1").get_products(ServiceCode="AmazonEC2")["PriceList"]
    assert {json.loads(product)["product"]["attributes"]["instanceType"] for product in listed} == {"trn1.32xlarge"}


@pytest.mark.attack("start a machine on demand without a question, from a script")
def test_on_demand_launch_is_not_made_without_an_answer(in_ohio, capsys):
    with pytest.raises(InputError) as raised:
        confirm(in_ohio, "trn1.32xlarge", 2, yes=False)
    assert "Nothing was started." in raised.value.what
    assert "--yes" in raised.value.do
    output = capsys.readouterr().err
    assert "2 x trn1.32xlarge on demand in us-east-2: 21.50 USD per instance-hour, 43.00 USD in total." in output


def test_no_to_an_on_demand_launch_starts_nothing(in_ohio, monkeypatch):
    monkeypatch.setattr("torchneuron.core.display.confirm", lambda *_, **__: False)
    with pytest.raises(Declined, match="Nothing was started"):
        confirm(in_ohio, "trn1.32xlarge", 1, yes=False)


def test_type_sold_as_blocks_only_is_reported(in_ohio, capsys):
    confirm(in_ohio, "trn2.48xlarge", 1, yes=True)
    output = capsys.readouterr().err
    assert "price unknown, AWS does not list one." in output
    assert "is sold as Capacity Blocks only" in output
    assert "invoke cb.search -t trn2.48xlarge -r us-east-2" in output
    confirm(in_ohio, "trn1.32xlarge", 1, yes=True)
    assert "Blocks only" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "code": "AccessDeniedException", "message": "not authorized to perform: pricing:GetProducts"},
        {"kind": "lost-before", "times": None},
        {"kind": "server-error", "times": None},
    ],
)
def test_price_that_cannot_be_read_stops_no_launch(in_ohio, faults, fault, capsys):
    faults({"operation": "GetProducts", **fault})
    confirm(in_ohio, "trn1.32xlarge", 1, yes=True)
    assert "price unknown. Could not read the price" in capsys.readouterr().err


def test_prices_are_served_in_three_regions_only(rehearsal_endpoint, clients):
    elsewhere = clients("pricing", "sa-east-1")
    with pytest.raises(elsewhere.exceptions.ClientError, match="scoped to a valid region"):
        elsewhere.get_products(ServiceCode="AmazonEC2")
