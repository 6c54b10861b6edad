"""CIDR blocks: validation, and whether they cover a large part of the internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from torchneuron.core.errors import InputError

Network = IPv4Network | IPv6Network

# RFC 1918, RFC 6598 and RFC 4193. Before Python 3.13, `is_private` is true for 0.0.0.0/0.
_PRIVATE = [
    ipaddress.ip_network(cidr)
    for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
# The number of public addresses from which CIDR blocks count as internet-wide: more than a /8, or a /16 of IPv6.
_MOST_ADDRESSES = {4: 2**24, 6: 2**112}


def check_cidr(text: str) -> str:
    """`text` as a canonical CIDR block; an address without a prefix length is one host. Raises InputError."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a CIDR block.",
            why=f"{error}.",
            do="Use a block such as 203.0.113.7/32 or 2001:db8::/64.",
        ) from error


def internet_wide(cidrs: Iterable[str]) -> list[str]:
    """The public blocks of `cidrs`, if together they cover more of the internet than one organization has.

    They are added up, because 0.0.0.0/1 and 128.0.0.0/1 are together the whole internet.
    """
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    found: list[Network] = []
    for version in (4, 6):
        public = [network for network in networks if network.version == version and not _is_private(network)]
        collapsed = ipaddress.collapse_addresses(public)  # type: ignore[type-var]
        if sum(network.num_addresses for network in collapsed) > _MOST_ADDRESSES[version]:
            found += public
    return [str(network) for network in found]


def _is_private(network: Network) -> bool:
    return any(
        network.subnet_of(private)  # type: ignore[arg-type]
        for private in _PRIVATE
        if private.version == network.version
    )
