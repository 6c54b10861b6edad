"""EC2 as the rehearsal serves it: moto's, with the operations that moto lacks, one class a concern."""

from __future__ import annotations

from moto.ec2.responses import EC2Response

from rehearsal.default_vpc import DefaultVpcOperations
from rehearsal.launches import LaunchResponse
from rehearsal.offering_operations import OfferingOperations
from rehearsal.reservation_operations import ReservationOperations
from rehearsal.volume_operations import VolumeOperations


class RehearsalEC2(
    OfferingOperations,
    ReservationOperations,
    VolumeOperations,
    DefaultVpcOperations,
    LaunchResponse,
    EC2Response,  # type: ignore[misc] # moto has no types
):
    """Bound to a world by `rehearsal.server`."""
