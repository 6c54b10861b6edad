"""EC2 as the rehearsal serves it: moto's, with the operations that moto lacks, one class a concern."""

from __future__ import annotations

from moto.core.utils import camelcase_to_underscores
from moto.ec2.responses import EC2Response

from rehearsal.aws.ec2 import requests
from rehearsal.aws.ec2.default_vpc import DefaultVpcOperations
from rehearsal.aws.ec2.image_operations import ImageOperations
from rehearsal.aws.ec2.launches import LaunchResponse
from rehearsal.aws.ec2.offering_operations import OfferingOperations
from rehearsal.aws.ec2.reservation_operations import ReservationOperations
from rehearsal.aws.ec2.terminations import TerminationOperations
from rehearsal.aws.ec2.volume_operations import VolumeOperations

SEARCH = "DescribeCapacityBlockOfferings"


class RehearsalEC2(
    OfferingOperations,
    ReservationOperations,
    VolumeOperations,
    DefaultVpcOperations,
    ImageOperations,
    TerminationOperations,
    LaunchResponse,
    EC2Response,  # type: ignore[misc] # moto has no types
):
    """Bound to a world by `rehearsal.server`."""

    def check(self) -> None:
        operation, given = self._get_action(), self._given()
        if operation == SEARCH:
            settings = self.world.market.settings
            self.world.search_limits.spend(self.current_account, self.region, settings.searches)
        requests.check(operation, given)
        # The rehearsal's own operations look first whether the request would have succeeded.
        method = getattr(self, camelcase_to_underscores(operation), None)
        if method is None or not method.__module__.startswith("rehearsal."):
            refusal = requests.dry_run_refused(operation, given)
            if refusal is not None:
                raise refusal
