"""The price of an on-demand launch, and the confirmation before it.

Prices come from the Pricing API (AWS Price List user guide, "Finding services and products").
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

# A Linux instance with shared tenancy, without licensed software or a reservation.
_LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_CURRENCY = "USD"


def confirm(aws: Aws, instance_type: str, count: int, *, yes: bool) -> None:
    """Show what an on-demand launch of `count` instances costs, and ask for confirmation unless `yes`.

    Raises Declined for a no, and InputError without a terminal.
    """
    launch = f"{count} x {instance_type} on demand in {aws.region}"
    display.note(f"This starts {launch}: {_cost(aws, instance_type, count)}")
    if is_sold_as_blocks_only(instance_type):
        display.note(
            f"In practice {instance_type} is sold as Capacity Blocks only: AWS rejects nearly every on-demand launch"
            " (InsufficientInstanceCapacity). To find a block:"
            f" invoke cb.search -t {quoted(instance_type)} -r {aws.region}"
        )
    if yes:
        return
    unchanged = "Nothing was started."
    if not display.confirm(f"Start {launch}?", otherwise="Add --yes to start without a question.", unchanged=unchanged):
        raise Declined(unchanged)


def hourly_price(aws: Aws, instance_type: str) -> Decimal | None:
    """The list price of an instance-hour in USD; None if AWS lists none.

    Raises AwsError or InputError if the price cannot be read.
    """
    attributes = {"instanceType": instance_type, "regionCode": aws.region, **_LINUX}
    with reading("read the price"):
        response = aws.pricing().get_products(
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            Filters=[{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in attributes.items()],
        )
        # One product is expected. Of several, the highest price: a launch never costs more than shown.
        return max((price for product in response["PriceList"] for price in _prices(json.loads(product))), default=None)


def _cost(aws: Aws, instance_type: str, count: int) -> str:
    charges = f"Charges end with: invoke destroy -r {aws.region}"
    try:
        with display.waiting("Looking up the price"):
            hourly = hourly_price(aws, instance_type)
    except (AwsError, InputError) as error:
        return f"price unknown. {error.what} {charges}"
    if hourly is None:
        return f"price unknown, AWS does not list one. {charges}"
    total = f", {price(hourly * count, _CURRENCY)} in total" if count > 1 else ""
    return f"{price(hourly, _CURRENCY)} per instance-hour{total}. {charges}"


def _prices(product: Mapping[str, Any]) -> Iterator[Decimal]:
    """The hourly prices above 0 in a product's on-demand terms."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            amount = Decimal(dimension["pricePerUnit"].get(_CURRENCY, "0"))
            if dimension.get("unit") == "Hrs" and amount > 0:
                yield amount
