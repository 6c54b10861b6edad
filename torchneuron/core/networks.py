"""CIDR blocks: whether a text is one, and whether several together are everyone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from torchneuron.core.errors import InputError

Network = IPv4Network | IPv6Network

# RFC 1918, RFC 6598 and RFC 4193: of a VPC or a company's network, however wide. `is_private` takes 0.0.0.0/0 for
# private before Python 3.13.
_INSIDE = [
    ipaddress.ip_network(cidr)
    for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
# The most public addresses that somebody's own networks have: a /8, and a /16 of IPv6.
_OWN = {4: 2**24, 6: 2**112}


def check_cidr(text: str) -> str:
    """`text` as a canonical CIDR block. Raises InputError; a bare address is taken as one host."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a CIDR block.",
            why=f"{error}.",
            do="Give one such as 203.0.113.7/32 or 2001:db8::/64.",
        ) from error


def everyone_in(cidrs: Iterable[str]) -> list[str]:
    """Those of `cidrs` that make up so much of the internet that they are everyone; none if they do not.

    Also in parts: 0.0.0.0/1 and 128.0.0.0/1 are everyone, and either of them is much more than anybody's own network.
    """
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    found: list[Network] = []
    for version in (4, 6):
        public = [one for one in networks if one.version == version and not _is_inside(one)]
        together = ipaddress.collapse_addresses(public)  # type: ignore[type-var]
        if sum(one.num_addresses for one in together) > _OWN[version]:
            found += public
    return [str(one) for one in found]


def _is_inside(network: Network) -> bool:
    return any(
        network.subnet_of(inside)  # type: ignore[arg-type]
        for inside in _INSIDE
        if inside.version == network.version
    )
