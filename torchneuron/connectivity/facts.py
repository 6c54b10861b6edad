"""What can be seen of an instance that Systems Manager does not reach: `gather` fills it, `diagnosis` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from torchneuron.aws.ec2 import Instance


@dataclass(frozen=True)
class Unseen:
    """In place of a fact that could not be looked at: `why` not, and the command with which who may `see` it can."""

    why: str = ""
    see: str = ""


@dataclass(frozen=True)
class Registration:
    """An instance as SSM has it. `status` is its PingStatus: Online, ConnectionLost, Inactive."""

    status: str
    last_ping: datetime | None = None
    agent_version: str = ""
    is_windows: bool = False

    @property
    def online(self) -> bool:
        return self.status == "Online"


@dataclass(frozen=True)
class Role:
    """The role of an instance profile; `name` is empty for a profile without one.

    `lets_agent_in`: whether its policies let an agent register and take commands.
    """

    profile: str
    name: str
    lets_agent_in: bool | Unseen = True
    profile_exists: bool = True


@dataclass(frozen=True)
class Route:
    """Where a subnet's default route leads: `target` is the id of a gateway, or empty where there is none."""

    table_id: str
    target: str = ""
    blackhole: bool = False

    @property
    def is_internet_gateway(self) -> bool:
        return self.target.startswith("igw-")

    @property
    def is_known(self) -> bool:
        """Whether it surely leads to the internet, as nobody can tell of a transit gateway or a firewall."""
        return self.target.startswith(("igw-", "nat-"))


NOT_ASKED = Unseen()


@dataclass(frozen=True)
class Facts:
    """All that was seen of one instance. None: there is none (an instance, a registration, a profile).

    `default_role` is Default Host Management Configuration's, empty where that is off; `egress`, whether a security
    group lets HTTPS out; `endpoints`, the SSM interface endpoints in its VPC, looked at where nothing else leads out.
    """

    instance_id: str
    region: str
    instance: Instance | Unseen | None
    registration: Registration | Unseen | None = None
    role: Role | Unseen | None = NOT_ASKED
    default_role: str | Unseen = NOT_ASKED
    egress: bool | Unseen = NOT_ASKED
    route: Route | Unseen = NOT_ASKED
    endpoints: frozenset[str] | Unseen = NOT_ASKED
