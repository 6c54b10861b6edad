"""What an on-demand launch costs, said before it is made, and the question about it.

Prices are the Price List Query API's: AWS Price List user guide, "Finding services and products".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from torchneuron.aws.errors import reading
from torchneuron.aws.session import Aws
from torchneuron.capacity_blocks.rules import is_sold_as_blocks_only
from torchneuron.core import display
from torchneuron.core.errors import AwsError, Declined, InputError
from torchneuron.core.text import price, quoted

# One Linux instance on shared hardware, without software that costs extra, on no reservation.
_LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_CURRENCY = "USD"


def confirm(aws: Aws, instance_type: str, count: int, *, yes: bool) -> None:
    """Say that `count` machines start on demand and at which price, and ask unless `yes`.

    Raises Declined for a no, InputError where nobody can answer.
    """
    launch = f"{count} x {instance_type} on demand in {aws.region}"
    display.note(f"This starts {launch}: {_cost(aws, instance_type, count)}")
    if is_sold_as_blocks_only(instance_type):
        display.note(
            f"{instance_type} is in practice sold as Capacity Blocks only: AWS refuses nearly every on-demand launch"
            " (InsufficientInstanceCapacity). To find a block:"
            f" invoke cb.search -t {quoted(instance_type)} -r {aws.region}"
        )
    if yes:
        return
    unchanged = "Nothing was started."
    if not display.confirm(f"Start {launch}?", otherwise="Add --yes to start without a question.", unchanged=unchanged):
        raise Declined(unchanged)


def hourly_price(aws: Aws, instance_type: str) -> Decimal | None:
    """The list price of an instance-hour in USD; None where AWS lists none.

    Raises AwsError and InputError when the prices cannot be read.
    """
    wanted = {"instanceType": instance_type, "regionCode": aws.region, **_LINUX}
    with reading("read the price"):
        answer = aws.pricing().get_products(
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            Filters=[{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()],
        )
        # One product is expected. Of several, the dearest: no launch costs more than was said.
        return max((price for product in answer["PriceList"] for price in _prices(json.loads(product))), default=None)


def _cost(aws: Aws, instance_type: str, count: int) -> str:
    until = f"Paid until it ends: invoke destroy -r {aws.region}"
    try:
        with display.waiting("Looking for the price"):
            hourly = hourly_price(aws, instance_type)
    except (AwsError, InputError) as error:
        return f"its price is not known. {error.what} {until}"
    if hourly is None:
        return f"its price is not known, AWS lists none. {until}"
    together = f", {price(hourly * count, _CURRENCY)} together" if count > 1 else ""
    return f"{price(hourly, _CURRENCY)} an hour each{together}. {until}"


def _prices(product: Mapping[str, Any]) -> Iterator[Decimal]:
    """The hourly prices above 0 in a product's on-demand terms."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            amount = Decimal(dimension["pricePerUnit"].get(_CURRENCY, "0"))
            if dimension.get("unit") == "Hrs" and amount > 0:
                yield amount
