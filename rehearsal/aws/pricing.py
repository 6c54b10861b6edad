"""The Price List Query API with a few on-demand prices. moto does not have this service.

Sources
-------
- Operation, filter types and errors: botocore's model, GetProducts. A product as JSON text, its attributes, terms and
  price dimensions: AWS Price List user guide, "Reading the service price list file for an AWS service"; the codes of
  the on-demand term and its rate are the same for every product there.
- Endpoints exist in three regions: AWS General Reference, "AWS Price List endpoints and quotas"; the error elsewhere:
  IAM user guide, "Troubleshoot Signature Version 4 signing", Credential scope.
- 21.50 USD for trn1.32xlarge, and no on-demand price for any size of trn2: foxl-ai/kiln, docs/research/trn2-trn3.md,
  October 2026. An unused on-demand reservation costs as much as the instance, a used one nothing in addition: EC2 user
  guide, "Capacity Reservation pricing and billing".
- Assumed: the errors for an unknown service or field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.responses import ActionResult

from rehearsal.answers import RehearsalResponse, ServiceError, page
from rehearsal.errors import AwsError

SERVICE = "pricing"
_ENDPOINTS = ("ap-south-1", "eu-central-1", "us-east-1")
_ON_DEMAND, _RATE = "JRTCKXETXF", "6YS6EN2CT7"
_PAGE_SIZE = 100
_LOCATIONS = {"us-east-1": "US East (N. Virginia)", "us-east-2": "US East (Ohio)"}
_HOURLY = {("trn1.32xlarge", region): "21.5000000000" for region in _LOCATIONS}
_USAGE_TYPES = {
    "Used": "BoxUsage",
    "UnusedCapacityReservation": "UnusedBox",
    "AllocatedCapacityReservation": "Reservation",
}


class RehearsalPricing(RehearsalResponse):
    """Bound to a world by `rehearsal.services`."""

    refusal = ServiceError

    def __init__(self) -> None:
        super().__init__(service_name=SERVICE)

    def check(self) -> None:
        if self.region not in _ENDPOINTS:
            raise AwsError(
                "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{self.region}'."
            )

    def get_products(self) -> ActionResult:
        parameters = self._json_members()
        if parameters["ServiceCode"] != "AmazonEC2":
            raise AwsError("InvalidParameterException", f"Input Parameters are invalid: {parameters['ServiceCode']}")
        filters = parameters.get("Filters", [])
        products = [
            json.dumps(product)
            for product in _products()
            if all(_matches(product["product"]["attributes"], condition) for condition in filters)
        ]
        size, token = parameters.get("MaxResults", _PAGE_SIZE), parameters.get("NextToken")
        shown, following = page(products, size, token, bad_token="InvalidNextTokenException")
        return ActionResult({"FormatVersion": "aws_v1", "PriceList": shown, "NextToken": following})


def _matches(attributes: Mapping[str, str], condition: Mapping[str, str]) -> bool:
    value, expected = attributes.get(condition["Field"], ""), condition["Value"]
    match condition["Type"]:
        case "CONTAINS":
            return expected in value
        case "ANY_OF":
            return value in expected.split(",")
        case "NONE_OF":
            return value not in expected.split(",")
    return value == expected


def _products() -> Iterator[dict[str, Any]]:
    for (instance_type, region), hourly in _HOURLY.items():
        for number, (capacity, usage) in enumerate(_USAGE_TYPES.items()):
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
