"""Addresses of callers, and the networks that they are looked up in.

A socket that serves IPv4 and IPv6 shows a caller 10.1.2.3 as ::ffff:10.1.2.3, and so may a list of networks. Both are
brought to the IPv4 form before they are compared, so that a list means the same whatever socket a caller came in by.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_HOLDER: Final = 64
"""Bits of an IPv6 address that its holder does not choose."""


def read_address(text: str) -> Address:
    """An address as a socket or a header writes it, without its zone.

    Raises:
        ValueError: it is none.

    """
    return plain_address(ip_address(text.partition("%")[0]))


def plain_address(address: Address) -> Address:
    """The address, an IPv4-mapped one as the IPv4 address that it stands for."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def plain_network(network: Network) -> Network:
    """The network, an IPv4-mapped one as the IPv4 network that it stands for."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((first, network.prefixlen - _MAPPED.prefixlen))
    return network


def holder(address: Address) -> IPv4Address | IPv6Network:
    """What counts as one caller: an IPv4 address, or the network that one machine takes its IPv6 addresses from."""
    return address if isinstance(address, IPv4Address) else IPv6Network((address, _HOLDER), strict=False)


def closest(networks: Iterable[Network], address: Address) -> int | None:
    """The length of the longest prefix among the networks that hold the address; None when none does."""
    return max((plain.prefixlen for plain in map(plain_network, networks) if address in plain), default=None)
