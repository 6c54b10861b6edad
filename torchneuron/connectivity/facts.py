"""What is known about an instance that Systems Manager does not reach: `lookup` fills it in, `diagnosis` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from torchneuron.aws.ec2 import Instance


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be looked up: the error, and an AWS CLI command that shows the fact."""

    error: str = ""
    command: str = ""


@dataclass(frozen=True)
class Registration:
    """An instance as SSM lists it. `status` is its PingStatus: Online, ConnectionLost or Inactive."""

    status: str
    last_ping: datetime | None = None
    agent_version: str = ""
    is_windows: bool = False

    @property
    def is_online(self) -> bool:
        return self.status == "Online"


@dataclass(frozen=True)
class Role:
    """The role of an instance profile; `name` is empty for a profile without a role.

    `allows_agent`: whether its policies allow what an SSM agent needs.
    """

    profile: str
    name: str
    allows_agent: bool | Unknown = True
    profile_exists: bool = True


@dataclass(frozen=True)
class Route:
    """A subnet's default route. `target` is the id of a gateway or the like, empty without a default route."""

    table_id: str
    target: str = ""
    is_blackhole: bool = False

    @property
    def is_internet_gateway(self) -> bool:
        return self.target.startswith("igw-")

    @property
    def leads_to_internet(self) -> bool:
        """Whether the target surely leads to the internet. Transit gateways and firewalls may or may not."""
        return self.target.startswith(("igw-", "nat-"))


NOT_LOOKED_UP = Unknown()


@dataclass(frozen=True)
class Facts:
    """What is known about one instance. None means that it does not exist: instance, registration or profile.

    `default_role` is the role of Default Host Management Configuration, empty if that is off. `allows_https_out`:
    whether any security group does. `endpoints` are the services with an interface endpoint in the VPC, looked up only
    if the default route does not lead out.
    """

    instance_id: str
    region: str
    instance: Instance | Unknown | None
    registration: Registration | Unknown | None = None
    role: Role | Unknown | None = NOT_LOOKED_UP
    default_role: str | Unknown = NOT_LOOKED_UP
    allows_https_out: bool | Unknown = NOT_LOOKED_UP
    route: Route | Unknown = NOT_LOOKED_UP
    endpoints: frozenset[str] | Unknown = NOT_LOOKED_UP
