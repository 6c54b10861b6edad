"""The options of `invoke deploy`, text, as one-off settings of a deployment (`$defs/deployment` in the schema).

What is not given is left out: the deployment's memory, then the settings, say what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchneuron.core.errors import InputError
from torchneuron.core.options import whole_number


def check_alone(flag: str, given: Mapping[str, object]) -> None:
    """Refuse options that a command would leave out of account: someone counts on them."""
    if others := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise InputError(f"{flag} has no use for {', '.join(others)}. Nothing was changed.", do="Leave it out.")


def read(
    *,
    type: str,
    region: str,
    use_capacity_block: bool,
    capacity_reservation_id: str,
    on_demand: bool,
    subnet_id: str,
    count: str,
    volume_size: str,
    data_volume_size: str,
    allowed_ips: Sequence[str],
    closed: bool,
    open_to_world: bool,
    refresh_ami: bool,
) -> dict[str, Any]:
    """The settings these options give. Raises InputError for text that is no number, and for two that contradict."""
    if on_demand and (use_capacity_block or capacity_reservation_id):
        raise InputError("--on-demand and a Capacity Block are both given.", do="Leave one of them out.")
    if closed and open_to_world:
        raise InputError("--closed and --open-to-world are both given.", do="Leave one of them out.")
    if closed and allowed_ips:
        raise InputError("--closed and --allowed-ip are both given.", do="Leave one of them out.")
    given: dict[str, Any] = {
        "instanceType": type,
        "region": region,
        "useCapacityBlock": use_capacity_block,
        "capacityReservationId": capacity_reservation_id,
        "subnetId": subnet_id,
        "allowedIps": list(allowed_ips),
        "openToWorld": open_to_world,
        "refreshAmi": refresh_ami,
    }
    settings = {name: value for name, value in given.items() if value}
    # Of these, 0 means something, if only that it is refused.
    numbers = {
        "count": ("--count", count),
        "volumeSize": ("--volume-size", volume_size),
        "dataVolumeSize": ("--data-volume-size", data_volume_size),
    }
    settings |= {name: whole_number(option, text) for name, (option, text) in numbers.items() if text}
    if on_demand:
        settings["useCapacityBlock"] = False
    if closed:
        settings["allowedIps"] = []
    return settings
