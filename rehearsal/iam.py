"""IAM as moto has it, with Amazon's managed policies there when they are first looked for.

moto can load them itself, but then builds all 1,500 of them again for each of AWS's partitions with every new
backend, which makes the first request after a reset take seconds.

What is no request by botocore's model is a ValidationError in AWS's common words: eks-hybrid 113. That a number or
truth value which isn't one is MalformedInput, and that unknown parameters are passed over, is assumed.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import IAMException
from moto.iam.models import AWSManagedPolicy
from moto.iam.responses import IamResponse

from rehearsal.answers import RehearsalResponse
from rehearsal.errors import AwsError
from rehearsal.models import operation_model
from rehearsal.query import read
from rehearsal.validation import check_request


class RehearsalIAM(RehearsalResponse, IamResponse):  # type: ignore[misc] # moto has no types
    """IAM as the rehearsal serves it."""

    refusal = IAMException

    def check(self) -> None:
        model = operation_model("iam", self._get_action())
        if model is None:
            return
        reading = read(model.input_shape, self._given(), is_ec2=False)
        for one in reading.malformed:
            raise AwsError("MalformedInput", f"{one.text} is not a value of {one.name}")
        check_request(model.input_shape, reading.values, code="ValidationError")

    def call_action(self) -> Any:
        backend = self.backend
        if not backend.aws_managed_policies:
            backend.aws_managed_policies = [
                AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
                for name, data in _managed_policies().items()
            ]
            backend.managed_policies.update({policy.arn: policy for policy in backend.aws_managed_policies})
        return super().call_action()


@functools.cache
def _managed_policies() -> dict[str, Any]:
    return dict(json.loads(aws_managed_policies_data))
