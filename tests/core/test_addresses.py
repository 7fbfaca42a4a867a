"""Addresses mean the same in every form that they are written in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.addresses import closest, holder, plain_address, plain_network, read_address


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::FFFF:a01:203", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:0:10.1.2.3", "::ffff:0:a01:203"),
    ],
)
def test_a_mapped_address_is_the_one_it_stands_for(text: str, plain: str) -> None:
    """An IPv4-mapped address is read as IPv4, a zone is left out, and other addresses stay as they are."""
    assert str(read_address(text)) == plain


def test_what_is_no_address_is_refused() -> None:
    """A name, or an address with more digits than there are, is none."""
    for text in ("", "localhost", "10.1.2.300", "10.1.2.3:443"):
        with pytest.raises(ValueError):  # noqa: PT011 - ipaddress has no narrower one
            read_address(text)


def test_the_longest_prefix_counts() -> None:
    """Of several networks that hold an address the narrowest gives its length; none of them gives None."""
    networks = [ip_network("10.0.0.0/8"), ip_network("10.1.2.0/24"), ip_network("2001:db8::/32")]
    assert closest(networks, IPv4Address("10.1.2.3")) == 24
    assert closest(networks, IPv4Address("10.9.9.9")) == 8
    assert closest(networks, IPv4Address("192.0.2.1")) is None
    assert closest(networks, IPv6Address("2001:db8::1")) == 32
    assert closest([], IPv4Address("192.0.2.1")) is None


def test_a_mapped_network_holds_ipv4_addresses() -> None:
    """A network that is written as IPv4-mapped means the IPv4 network; a wider one stays what it is."""
    assert plain_network(ip_network("::ffff:10.1.0.0/112")) == ip_network("10.1.0.0/16")
    assert plain_network(ip_network("::/0")) == ip_network("::/0")
    assert closest([ip_network("::ffff:10.1.0.0/112")], IPv4Address("10.1.9.9")) == 16
    assert closest([ip_network("::/0")], IPv4Address("10.1.9.9")) is None


def test_one_caller_holds_a_network_of_ipv6() -> None:
    """IPv4 addresses are callers by themselves, IPv6 addresses by the first half."""
    assert holder(IPv4Address("10.1.2.3")) == IPv4Address("10.1.2.3")
    assert holder(IPv6Address("2001:db8::1")) == holder(IPv6Address("2001:db8::ffff:1")) == ip_network("2001:db8::/64")
    assert holder(IPv6Address("2001:db8:0:1::1")) != holder(IPv6Address("2001:db8::1"))


@given(st.ip_addresses(v=4))
def test_both_forms_of_any_address_are_one(address: IPv4Address) -> None:
    """Whatever socket a caller came in by, the allow list sees the same address."""
    assert plain_address(IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)) == address == plain_address(address)
