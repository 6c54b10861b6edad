"""The options of the commands that deploy, look and remove, as the command line gives them: text and flags."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from torchneuron.core.errors import InputError
from torchneuron.core.options import one_of, whole_number

_REGION = "AWS region [default: defaultRegion in the settings]"


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class DeployOptions:
    """The options of `invoke deploy`. The deployment's memory, then the settings, decide what is left out."""

    type: str = _option("", "Instance type, such as trn2.3xlarge [default: the previous deploy's, then the settings']")
    region: str = _option("", _REGION)
    use_capacity_block: bool = _option(False, "Launch on the Capacity Block saved in Parameter Store, or the named one")
    capacity_reservation_id: str = _option("", "Reservation id of the Capacity Block [default: the saved one]")
    on_demand: bool = _option(False, "Launch on demand, even if there is a Capacity Block or one was used before")
    subnet_id: str = _option("", "Subnet [default: the saved block's, then the default VPC's]")
    count: str = _option("", "Number of machines [default: the previous deploy's, then 1]")
    volume_size: str = _option("", "Root volume size in GiB [default: the previous deploy's, then the settings']")
    data_volume_size: str = _option(
        "", "Size in GiB of a separate volume for the home folder, kept when the machine is removed [default: none]"
    )
    allowed_ip: tuple[str, ...] = _option(
        (), "CIDR that may connect to nginx; repeatable [default: the previous deploy's, then no open port]"
    )
    closed: bool = _option(False, "Close all ports")
    open_to_world: bool = _option(
        False, "Let --allowed-ip be everyone, 0.0.0.0/0 or ::/0; requires HTTPS (tls in the settings)"
    )
    refresh_ami: bool = _option(False, "Replace machines that run an older AMI than the newest; data volumes stay")
    skip_setup: bool = _option(False, "Deploy only; set code-server up later with invoke setup")
    show_info: bool = _option(False, "Only show what is deployed, as invoke info does")
    destroy: bool = _option(False, "Only remove what is deployed, as invoke destroy does")
    delete_data: bool = _option(False, "With --destroy: remove the data volumes as well")
    allow_replace: bool = _option(False, "Allow the deploy to replace or delete a running machine or a data volume")
    release_data: bool = _option(False, "Keep the data volumes in AWS, and take them out of this deployment")
    yes: bool = _option(False, "Do not ask before an on-demand launch, or before a removal with --destroy")
    dry_run: bool = _option(False, "Check and plan, show what would change or be lost, and change nothing")

    def check(self) -> None:
        """Raise InputError for options that exclude each other, or that the command would ignore."""
        if self.destroy:
            self._refuse_beside("--destroy", {"region", "destroy", "yes", "delete_data", "dry_run"})
        elif self.show_info:
            self._refuse_beside("--show-info", {"region", "show_info", "dry_run"})
        elif self.delete_data:
            raise InputError("--delete-data requires --destroy. Nothing was changed.", do="Add it, or leave this out.")
        for first, second, are_given in (
            ("--on-demand", "a Capacity Block", self.on_demand and self.names_block),
            ("--closed", "--open-to-world", self.closed and self.open_to_world),
            ("--closed", "--allowed-ip", self.closed and self.allowed_ip),
        ):
            if are_given:
                raise InputError(f"{first} and {second} are both given.", do="Leave one of them out.")

    @property
    def names_block(self) -> bool:
        return bool(self.use_capacity_block or self.capacity_reservation_id)

    def settings(self) -> dict[str, Any]:
        """The options as one-off settings (`$defs/deployment` in the schema). Raises InputError for a bad number."""
        given: dict[str, Any] = {
            "instanceType": self.type,
            "region": self.region,
            "useCapacityBlock": self.use_capacity_block,
            "capacityReservationId": self.capacity_reservation_id,
            "subnetId": self.subnet_id,
            "allowedIps": list(self.allowed_ip),
            "openToWorld": self.open_to_world,
            "refreshAmi": self.refresh_ami,
        }
        settings = {name: value for name, value in given.items() if value}
        # 0 has a meaning for these, if only that it is refused.
        numbers = {
            "count": ("--count", self.count),
            "volumeSize": ("--volume-size", self.volume_size),
            "dataVolumeSize": ("--data-volume-size", self.data_volume_size),
        }
        settings |= {name: whole_number(option, text) for name, (option, text) in numbers.items() if text}
        if self.on_demand:
            settings["useCapacityBlock"] = False
        if self.closed:
            settings["allowedIps"] = []
        return settings

    def _refuse_beside(self, flag: str, allowed: set[str]) -> None:
        others = [
            f"--{option.name.replace('_', '-')}"
            for option in fields(self)
            if option.name not in allowed and getattr(self, option.name)
        ]
        if others:
            raise InputError(
                f"{flag} cannot be combined with {', '.join(others)}. Nothing was changed.", do="Leave one of them out."
            )


@dataclass(frozen=True)
class InfoOptions:
    """The options of `invoke info`."""

    region: str = _option("", _REGION)
    output: str = _option("table", "table or json [default: table]")

    @property
    def is_json(self) -> bool:
        """Raises InputError for an unknown form."""
        return one_of("--output", self.output, ("table", "json")) == "json"


@dataclass(frozen=True)
class PasswordOptions:
    """The options of `invoke password`."""

    region: str = _option("", _REGION)


@dataclass(frozen=True)
class DestroyOptions:
    """The options of `invoke destroy`."""

    region: str = _option("", _REGION)
    yes: bool = _option(False, "Do not ask")
    delete_data: bool = _option(False, "Remove the data volumes as well")
    dry_run: bool = _option(False, "Show what would be removed and what would stay, and remove nothing")


@dataclass(frozen=True)
class BootstrapOptions:
    """The options of `invoke bootstrap`."""

    region: str = _option("", _REGION)
    dry_run: bool = _option(False, "Show what would happen, and change nothing")
