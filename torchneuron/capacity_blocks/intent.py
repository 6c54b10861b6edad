"""What a purchase was for, written into the block's tags: the only way to tell later whether it was made.

EC2's PurchaseCapacityBlock has no client token. The intent names the window bought, so that it is the same
for every quote of it; the offering's id is kept as well, for when the offering itself is gone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from torchneuron.capacity_blocks.offerings import Offering
from torchneuron.capacity_blocks.reservations import COVERS_TAG, GONE, PRICE_TAG, Reservation

_INTENT = "torchneuron:intent"
_OFFERING = "torchneuron:offering-id"


def intent_of(offering: Offering) -> str:
    """One text for one thing to buy, whatever id AWS quotes it under."""
    instance_type, zone, count, start, end = offering.window
    return f"{instance_type}/{count}/{zone}/{start:%Y-%m-%dT%H:%MZ}/{end:%Y-%m-%dT%H:%MZ}"


def tags_for(offering: Offering, asked_for: str) -> dict[str, str]:
    """The tags of a purchase. `asked_for` is the id the person gave: AWS may quote its window anew."""
    tags = {
        _INTENT: intent_of(offering),
        _OFFERING: asked_for,
        PRICE_TAG: f"{offering.fee} {offering.currency}",
    }
    return {**tags, COVERS_TAG: covers} if (covers := _several(offering)) else tags


def bought_for(owned: Iterable[Reservation], offering: Offering) -> list[Reservation]:
    """The reservations bought for this offering's window, as far as they still count."""
    return _tagged(owned, _INTENT, intent_of(offering))


def bought_as(owned: Iterable[Reservation], offering_id: str) -> list[Reservation]:
    """The reservations bought when somebody asked for this id."""
    return _tagged(owned, _OFFERING, offering_id)


def intent_tagged(reservation: Reservation) -> str:
    """The intent a reservation was bought for; empty when it was not bought by this tool."""
    return reservation.tags.get(_INTENT, "")


def command_that_tells(intent: str, region: str) -> str:
    """The AWS CLI command that lists what was bought in `region` for this intent."""
    query = (
        f"CapacityReservations[?Tags[?Key=='{_INTENT}' && Value=='{intent}']]"
        ".[CapacityReservationId,State,StartDate,EndDate]"
    )
    return f"aws ec2 describe-capacity-reservations --region {region} --output table --query {shlex.quote(query)}"


def _several(offering: Offering) -> str:
    """What an offering is made of that becomes a reservation each; empty where it becomes one."""
    if offering.segments:
        return f"{offering.count} instances in {len(offering.segments)} segments"
    return f"{offering.ultraserver_count} UltraServers" if offering.ultraserver_count > 1 else ""


def _tagged(owned: Iterable[Reservation], key: str, value: str) -> list[Reservation]:
    return [one for one in owned if one.tags.get(key) == value and one.state not in GONE]
