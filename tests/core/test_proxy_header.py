"""The PROXY protocol: nobody is believed who does not speak it exactly."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.addresses import Address, plain_address
from relay.core.proxy_header import LONGEST_BLOCK, LONGEST_LINE, NotProxy, begins, caller, more

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = st.ip_addresses()
PORTS = st.integers(0, 65535)


def line(source: Address, port: int) -> bytes:
    """A header of version 1."""
    other = "192.0.2.1" if source.version == 4 else "2001:db8::1"
    return f"PROXY TCP{source.version} {source} {other} {port} 443\r\n".encode()


def block(source: Address, port: int, extra: bytes = b"", *, command: int = 0x21, family: int | None = None) -> bytes:
    """A header of version 2."""
    both = source.packed + bytes(len(source.packed)) + struct.pack("!HH", port, 443) + extra
    kind = family if family is not None else 0x11 if source.version == 4 else 0x21
    return SIGNATURE + bytes((command, kind)) + struct.pack("!H", len(both)) + both


def taken(stream: bytes) -> bytes:
    """What is read of a stream as the header, byte count by byte count."""
    header = b""
    while missing := more(header):
        piece = stream[len(header) : len(header) + missing]
        if not piece:
            raise EOFError
        header += piece
    return header


@given(ADDRESSES, PORTS, st.binary(max_size=80), st.booleans(), st.binary(max_size=64))
def test_what_follows_is_never_taken(source: Address, port: int, rest: bytes, second: bool, extra: bytes) -> None:
    """Of either version, with any additions, exactly the header is read, and it names the address."""
    header = block(source, port, extra) if second else line(source, port)
    assert taken(header + rest) == header
    assert caller(header) == plain_address(source)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(lambda tail: SIGNATURE + tail)))
def test_garbage_is_refused(stream: bytes) -> None:
    """Whatever comes, it is either refused, or waited for, or names an address of a header that it begins with."""
    with contextlib.suppress(NotProxy, EOFError):
        header = taken(stream)
        found = caller(header)
        assert stream.startswith(header)
        assert found is None or found.packed in header or str(found).encode() in header


@given(st.text(alphabet="PROXYTCP46UNKNOWN 0123456789.:abcdef\r\n", max_size=130))
def test_lines_that_look_alike_are_refused(text: str) -> None:
    """A line of the right characters counts only in the one right order."""
    data = b"PROXY " + text.encode()
    with contextlib.suppress(NotProxy, EOFError):
        header = taken(data)
        found = caller(header)
        assert len(header) <= LONGEST_LINE
        assert header.count(b"\r\n") == 1
        assert found is None or header.split(b" ")[2] == str(found).encode() or "." in str(found)


def test_a_balancer_that_speaks_for_itself_names_nobody() -> None:
    """LOCAL, UNKNOWN and an unspecified family leave the peer's own address."""
    assert caller(taken(b"PROXY UNKNOWN\r\n")) is None
    assert caller(taken(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n")) is None
    assert caller(block(IPv4Address("10.1.2.3"), 1, command=0x20)) is None
    assert caller(block(IPv4Address("10.1.2.3"), 1, family=0)) is None


def test_a_mapped_address_is_read_as_ipv4() -> None:
    """What a balancer with a socket for both families writes means the IPv4 address."""
    mapped = IPv6Address("::ffff:10.1.2.3")
    assert caller(line(mapped, 1)) == caller(block(mapped, 1)) == IPv4Address("10.1.2.3")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 10.1.2.3 10.1.2.4 1 65536\r\n",
        b"PROXY TCP4 10.1.2.3 10.1.2.4 01 443\r\n",
        b"PROXY TCP4 10.1.2.3 10.1.2.4 1 443\n",
        b"PROXY TCP4  10.1.2.3 10.1.2.4 1 443\r\n",
        b"PROXY TCP4 10.1.2.03 10.1.2.4 1 443\r\n",
        b"PROXY TCP4 10.1.2.3 ::1 1 443\r\n",
        b"PROXY TCP6 10.1.2.3 10.1.2.4 1 443\r\n",
        b"PROXY TCP6 fe80::1%1 fe80::2 1 443\r\n",
        b"PROXY UDP4 10.1.2.3 10.1.2.4 1 443\r\n",
        b"PROXY TCP4 10.1.2.3 10.1.2.4 1 443 \r\n",
        b"PROXY TCP4 \xd9\xa1.1.2.3 10.1.2.4 1 443\r\n",
        b"PROXY UNKNOWN\r\nx\r\n",
        b"PROXY UNKNOWN" + b" " * LONGEST_LINE + b"\r\n",
        b"PROXY TCP6 " + b"0" * LONGEST_LINE + b" ::1 1 443\r\n",
        b"proxy tcp4 10.1.2.3 10.1.2.4 1 443\r\n",
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0d" + bytes(12),
        SIGNATURE + b"\x21\x11",
    ],
)
def test_what_is_nearly_a_header_is_none(header: bytes) -> None:
    """A wrong port, space, family, version or length is refused, and so is every second spelling."""
    with pytest.raises(NotProxy):
        caller(header)


def test_no_header_is_read_without_end() -> None:
    """A line without an end, and a block that says it is enormous, are refused before they are read."""
    with pytest.raises(NotProxy, match="107"):
        taken(b"PROXY TCP4 " + b"1" * 1000)
    with pytest.raises(NotProxy, match=str(LONGEST_BLOCK)):
        more(SIGNATURE + b"\x21\x11" + (LONGEST_BLOCK + 1).to_bytes(2, "big"))
    assert more(SIGNATURE + b"\x21\x11" + LONGEST_BLOCK.to_bytes(2, "big")) == LONGEST_BLOCK


def test_the_first_wrong_byte_ends_it() -> None:
    """TLS and HTTP are told from the PROXY protocol by their first bytes."""
    for other in (b"\x16\x03\x01", b"POST / HTTP/1.1", b"\r\n\r\nQ"):
        assert not begins(other)
        with pytest.raises(NotProxy):
            more(other)
    assert not begins(b"")
    assert begins(b"PROXY TCP4")
    assert begins(SIGNATURE + b"!")
    assert more(b"") == 15
    assert more(SIGNATURE + b"\x21\x11\x00") == 1
