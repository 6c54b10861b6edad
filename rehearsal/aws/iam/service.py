"""IAM as moto has it, with Amazon's managed policies there when they are first looked for.

moto can load them itself, but then builds all 1,500 of them again for each of AWS's partitions with every new
backend, which makes the first request after a reset take seconds.
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


class RehearsalIAM(RehearsalResponse, IamResponse):  # type: ignore[misc] # moto has no types
    """IAM as the rehearsal serves it."""

    refusal = IAMException

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
