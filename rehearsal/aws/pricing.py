"""The Price List Query API: a few on-demand list prices. moto has no such service.

Sources
-------
- Operation, filter types and errors: botocore's model, GetProducts. A product as JSON text, its attributes, terms and
  price dimensions: AWS Price List user guide, "Reading the service price list file for an AWS service"; the codes of
  the on-demand term and its rate are those of every product there.
- Endpoints in three regions only: AWS General Reference, "AWS Price List endpoints and quotas"; the refusal elsewhere:
  IAM user guide, "Troubleshoot Signature Version 4 signing", Credential scope.
- 21.50 USD for trn1.32xlarge, and that no size of trn2 has a price on demand: foxl-ai/kiln, docs/research/trn2-trn3.md,
  October 2026. An unused on-demand reservation costs the same, one in use nothing beside its instances: EC2 user guide,
  "Capacity Reservation pricing and billing".
- What an unknown service or field is answered is assumed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

from rehearsal.answers import RehearsalResponse, page
from rehearsal.errors import AwsError

SERVICE = "pricing"
_ENDPOINTS = ("ap-south-1", "eu-central-1", "us-east-1")
_ON_DEMAND, _RATE = "JRTCKXETXF", "6YS6EN2CT7"
_PAGE = 100
_LOCATIONS = {"us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)"}
_HOURLY = {("trn1.32xlarge", region): "21.5000000000" for region in _LOCATIONS}
_CAPACITY = {
    "Used": "BoxUsage",
    "UnusedCapacityReservation": "UnusedBox",
    "AllocatedCapacityReservation": "Reservation",
}


class _Refusal(ServiceException):  # type: ignore[misc] # moto has no types
    """moto writes an exception by the service model."""


class RehearsalPricing(RehearsalResponse):
    """Bound to a world by `rehearsal.services`."""

    refusal = _Refusal

    def __init__(self) -> None:
        super().__init__(service_name=SERVICE)

    def check(self) -> None:
        if self.region not in _ENDPOINTS:
            raise AwsError(
                "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{self.region}'."
            )

    def get_products(self) -> ActionResult:
        asked = self._given_json()
        if asked["ServiceCode"] != "AmazonEC2":
            raise AwsError("InvalidParameterException", f"Input Parameters are invalid: {asked['ServiceCode']}")
        found = [
            json.dumps(product)
            for product in _products()
            if all(_matches(product["product"]["attributes"], each) for each in asked.get("Filters", []))
        ]
        shown, token = page(
            found, asked.get("MaxResults", _PAGE), asked.get("NextToken"), bad_token="InvalidNextTokenException"
        )
        return ActionResult({"FormatVersion": "aws_v1", "PriceList": shown, "NextToken": token})


def _matches(attributes: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    value, wanted = attributes.get(asked["Field"], ""), asked["Value"]
    match asked["Type"]:
        case "CONTAINS":
            return wanted in value
        case "ANY_OF":
            return value in wanted.split(",")
        case "NONE_OF":
            return value not in wanted.split(",")
    return value == wanted


def _products() -> Iterator[dict[str, Any]]:
    for (instance_type, region), hourly in _HOURLY.items():
        for number, (capacity, usage) in enumerate(_CAPACITY.items()):
            sku = f"{instance_type}{region}{number}".upper().replace(".", "").replace("-", "")
            amount = "0.0000000000" if capacity == "AllocatedCapacityReservation" else hourly
            yield {
                "product": {
                    "productFamily": "Compute Instance",
                    "attributes": {
                        "servicecode": "AmazonEC2",
                        "instanceType": instance_type,
                        "regionCode": region,
                        "location": _LOCATIONS[region],
                        "locationType": "AWS Region",
                        "operatingSystem": "Linux",
                        "tenancy": "Shared",
                        "preInstalledSw": "NA",
                        "licenseModel": "No License required",
                        "capacitystatus": capacity,
                        "marketoption": "OnDemand",
                        "operation": "RunInstances",
                        "usagetype": f"{usage}:{instance_type}",
                    },
                    "sku": sku,
                },
                "serviceCode": "AmazonEC2",
                "terms": {"OnDemand": {f"{sku}.{_ON_DEMAND}": _term(sku, amount, instance_type)}},
                "version": "20261001000000",
                "publicationDate": "2026-10-01T00:00:00Z",
            }


def _term(sku: str, amount: str, instance_type: str) -> dict[str, Any]:
    rate = f"{sku}.{_ON_DEMAND}.{_RATE}"
    return {
        "sku": sku,
        "offerTermCode": _ON_DEMAND,
        "effectiveDate": "2026-10-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {
            rate: {
                "rateCode": rate,
                "unit": "Hrs",
                "description": f"${amount} per On Demand Linux {instance_type} Instance Hour",
                "beginRange": "0",
                "endRange": "Inf",
                "appliesTo": [],
                "pricePerUnit": {"USD": amount},
            }
        },
    }
