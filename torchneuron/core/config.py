"""The settings: `config.json`, validated and parsed into frozen objects.

The environment variable `TORCHNEURON_CONFIG` names another file. Relative paths in a settings file are relative to
that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchneuron.core import files
from torchneuron.core.errors import InputError
from torchneuron.core.networks import check_cidr, internet_wide
from torchneuron.core.schema import Problem, find_problems, read_json

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIG_VARIABLE = "TORCHNEURON_CONFIG"
HTTPS_PORT = 443
EXTENSIONS = ("amazonwebservices.aws-toolkit-vscode", "amazonwebservices.amazon-q-vscode", "saoudrizwan.claude-dev")
"""The editor's default extensions."""
# Region prefixes of botocore's other partitions: GovCloud, China, the European Sovereign Cloud, isolated regions.
_OTHER_PARTITIONS = ("us-gov-", "cn-", "eusc-", "us-iso", "eu-iso")


@dataclass(frozen=True)
class S3Backend:
    """Terraform state in S3. `bucket` is None until `invoke bootstrap` creates one."""

    bucket: str | None
    region: str
    key: str
    use_path_style: bool = False


@dataclass(frozen=True)
class LocalBackend:
    """Terraform state in a file on this machine, at the absolute `path`."""

    path: str


@dataclass(frozen=True)
class HcpBackend:
    """Terraform state in a workspace of HCP Terraform (Terraform Cloud) or Terraform Enterprise at `hostname`."""

    organization: str
    workspace: str
    hostname: str | None = None


Backend = S3Backend | LocalBackend | HcpBackend


@dataclass(frozen=True)
class Deployment:
    """The input of one stack: the settings, overridden by one-off values.

    With `use_capacity_block`, Terraform reads ids that are None from Parameter Store. Sizes are in GiB; a
    `data_volume_size` of 0 means no data volume. `allowed_ips_chosen`: `allowed_ips` comes from the overrides, not
    from the settings. With `refresh_ami`, a newer AMI replaces a machine.
    """

    name: str
    region: str
    instance_type: str
    ami_parameter: str
    volume_size: int
    use_capacity_block: bool
    capacity_reservation_id: str | None
    subnet_id: str | None
    allowed_ips: tuple[str, ...]
    nginx_port: int
    backend: Backend
    https: bool = False
    count: int = 1
    data_volume_size: int = 0
    allowed_ips_chosen: bool = False
    open_to_world: bool = False
    refresh_ami: bool = False


@dataclass(frozen=True)
class Config:
    """A validated settings file, read from `path`. Every path is absolute."""

    path: Path
    project_name: str
    default_region: str
    default_instance_type: str
    default_volume_size: int
    data_volume_size: int
    code_server_user: str
    code_server_version: str
    code_server_sha256: Mapping[str, str]
    extensions: tuple[str, ...]
    home_folder: str
    internal_port: int
    nginx_port: int
    tls: str
    tls_certificate: str
    tls_key: str
    allowed_ips: tuple[str, ...]
    state_dir: Path
    output_dir: Path
    backend: Mapping[str, Any]
    ami_parameters: Mapping[str, str]

    @property
    def https(self) -> bool:
        """Whether nginx serves HTTPS, at HTTPS_PORT."""
        return self.tls != "off"

    @property
    def served_ports(self) -> tuple[int, ...]:
        """The ports where nginx listens."""
        return (self.nginx_port, HTTPS_PORT) if self.https else (self.nginx_port,)

    def region(self, name: str | None) -> str:
        """`name`, or the default region if it is empty. Raises InputError for a region that is not configured."""
        region = name or self.default_region
        if region.startswith(_OTHER_PARTITIONS):
            raise InputError(
                f"Region {region} is not supported: it is in another AWS partition.",
                why="ARNs and service principals differ there.",
                do="Use a commercial region.",
            )
        if region not in self.ami_parameters:
            raise InputError(
                f"Region {region!r} is not configured.",
                why=f"Configured in {self.path.name}: {', '.join(self.ami_parameters)}.",
                do=f'Add it under "regions" in {self.path}, or use one of these.',
            )
        return region

    def check(self, overrides: Mapping[str, Any]) -> None:
        """Raise InputError for overrides that are invalid in every deployment."""
        _raise_if_any(find_problems(dict(overrides), _deployment_schema()), "Invalid settings.")
        self.region(overrides.get("region"))
        self._addresses(overrides.get("allowedIps") or (), overrides)

    def deployment(self, overrides: Mapping[str, Any]) -> Deployment:
        """The deployment of these settings with `overrides` (`$defs/deployment` in the schema).

        Raises InputError for unknown names, invalid values, a region that is not configured, a reservation id without
        `useCapacityBlock`, a port open to the internet without `openToWorld` or HTTPS, and a data volume without a
        subnet.
        """
        self.check(overrides)
        region = self.region(overrides.get("region"))
        use_block = bool(overrides.get("useCapacityBlock", False))
        reservation = overrides.get("capacityReservationId")
        if reservation and not use_block:
            raise InputError(
                "A capacity reservation needs --use-capacity-block.",
                do="Add --use-capacity-block (useCapacityBlock: true), or omit the reservation.",
            )
        chosen = overrides.get("allowedIps")
        allowed_ips = self._addresses(self.allowed_ips if chosen is None else chosen, overrides)
        subnet = overrides.get("subnetId")
        data_volume_size = overrides.get("dataVolumeSize", self.data_volume_size)
        if data_volume_size and not (subnet or use_block):
            raise InputError(
                "A data volume needs a subnet.",
                why="The volume is in one zone, and only machines in that zone can attach it.",
                do="Name a subnet with --subnet-id (subnetId).",
            )
        return Deployment(
            name=self.project_name,
            region=region,
            instance_type=overrides.get("instanceType") or self.default_instance_type,
            ami_parameter=self.ami_parameters[region],
            volume_size=overrides.get("volumeSize") or self.default_volume_size,
            use_capacity_block=use_block,
            capacity_reservation_id=reservation,
            subnet_id=subnet,
            allowed_ips=allowed_ips,
            nginx_port=self.nginx_port,
            backend=self.backend_for(region),
            https=self.https,
            count=overrides.get("count", 1),
            data_volume_size=data_volume_size,
            allowed_ips_chosen=chosen is not None,
            open_to_world=bool(overrides.get("openToWorld", False)),
            refresh_ami=bool(overrides.get("refreshAmi", False)),
        )

    def _addresses(self, cidrs: Iterable[str], overrides: Mapping[str, Any]) -> tuple[str, ...]:
        """The canonical CIDR blocks, without duplicates: EC2 refuses duplicate rules.

        Raises InputError for internet-wide blocks without `openToWorld`, and for `openToWorld` without HTTPS.
        """
        checked = tuple(dict.fromkeys(check_cidr(cidr) for cidr in cidrs))
        open_to_world = overrides.get("openToWorld")
        everyone = internet_wide(checked)
        if everyone and not open_to_world:
            raise InputError(
                f"{' and '.join(everyone)} would open the machine to everyone on the internet.",
                why="The port gives access to a shell with administrator rights.",
                do="Name your own addresses. To allow everyone, add --open-to-world (openToWorld: true).",
            )
        if open_to_world and not self.https:
            raise InputError(
                "--open-to-world needs HTTPS, which is off in the settings.",
                why="Without it, the password and all traffic cross the internet in plain text.",
                do=f'Set "tls" to "self-signed" or "given" in {self.path}, or name your own addresses (--allowed-ip),'
                " or none (--closed).",
            )
        return checked

    def backend_for(self, region: str) -> Backend:
        """The backend of the deployment in `region`: each region has its own state."""
        if self.backend["type"] == "hcp":
            return HcpBackend(
                organization=self.backend["organization"],
                workspace=self.backend["workspace"].replace("{region}", region),
                hostname=self.backend.get("hostname"),
            )
        if self.backend["type"] == "local":
            folder = self.path.parent / self.backend.get("path", "terraform-state")
            return LocalBackend(path=str(folder / f"{self.project_name}-{region}.tfstate"))
        return S3Backend(
            bucket=self.backend.get("bucket"),
            region=self.backend.get("region") or region,
            key=f"{self.project_name}/{region}/terraform.tfstate",
            use_path_style=bool(self.backend.get("usePathStyle", False)),
        )


def load(path: Path | None = None) -> Config:
    """Read `path`, or else the file named by TORCHNEURON_CONFIG, or else the project's `config.json`.

    Raises InputError with every problem found.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = (path or (Path(named) if named else PROJECT_ROOT / "config.json")).resolve()
    document = read_json(path)
    _raise_if_any(find_problems(document, _schema()), f"Invalid settings in {path}.")
    _raise_if_any([*_port_problems(document), *_tls_problems(document)], f"Invalid settings in {path}.")
    folder = path.parent
    state_dir = document.get("stateDir")
    return Config(
        path=path,
        project_name=document["projectName"],
        default_region=document["defaultRegion"],
        default_instance_type=document["defaultInstanceType"],
        default_volume_size=document.get("defaultVolumeSize", 500),
        data_volume_size=document.get("dataVolumeSize", 0),
        code_server_user=document.get("codeServerUser", "coder"),
        code_server_version=document.get("codeServerVersion", "4.139.1"),
        code_server_sha256=dict(document.get("codeServerSha256", {})),
        extensions=tuple(document.get("extensions", EXTENSIONS)),
        home_folder=document.get("homeFolder", "/work"),
        internal_port=document.get("internalPort", 8080),
        nginx_port=document.get("nginxPort", 80),
        tls=document.get("tls", "off"),
        tls_certificate=document.get("tlsCertificate") or "",
        tls_key=document.get("tlsKey") or "",
        allowed_ips=tuple(check_cidr(cidr) for cidr in document.get("allowedIps", [])),
        state_dir=folder / state_dir if state_dir else _user_state_dir(),
        output_dir=folder / document.get("outputDir", "cdktf.out"),
        backend=document["backend"],
        ami_parameters={name: region["amiParameter"] for name, region in document["regions"].items()},
    )


def save_state_bucket(config: Config, bucket: str, region: str) -> None:
    """Write the state bucket into the settings file."""
    document = read_json(config.path)
    document["backend"] = {**document["backend"], "type": "s3", "bucket": bucket, "region": region}
    files.write_atomically(config.path, json.dumps(document, indent=2) + "\n")


def _port_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Port conflicts, which a schema cannot express."""
    inside, outside = document.get("internalPort", 8080), document.get("nginxPort", 80)
    if inside == outside:
        yield Problem("internalPort", f"{inside} is also nginxPort; use different ports")
    for name, port in (("internalPort", inside), ("nginxPort", outside)):
        if port == 22:
            yield Problem(name, "22 is the port of the machine's SSH server")
        if port == HTTPS_PORT and document.get("tls", "off") != "off":
            yield Problem(name, f"{port} is the HTTPS port; use another one")


def _tls_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Paths without `tls: given` are allowed: HTTPS can be turned off temporarily."""
    for name in ("tlsCertificate", "tlsKey"):
        if document.get("tls") == "given" and not document.get(name):
            yield Problem(name, 'required if tls is "given"')


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = read_json(PROJECT_ROOT / "config.schema.json")
    return schema


def _deployment_schema() -> dict[str, Any]:
    definitions = _schema()["$defs"]
    return {**definitions["deployment"], "$defs": definitions}


def _raise_if_any(problems: list[Problem], what: str) -> None:
    if problems:
        raise InputError(what, why="\n".join(f"  {problem}" for problem in problems))


def _user_state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "torchneuron"
