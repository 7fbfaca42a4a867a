"""The header of the PROXY protocol, versions 1 and 2, with which a load balancer says who called it.

It stands before everything else on a connection, TLS included. `more` tells how many bytes may be read without taking
one that comes after the header; `caller` then gives the address. Source: HAProxy's "The PROXY protocol", 2020/03/05.

Why so strict: whoever is believed here chooses the address that the allow list is asked about. What the protocol knows
beyond TCP over IPv4 and IPv6 no listener of ours can be reached by, so it is refused rather than skipped.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from relay.core.addresses import Address, plain_address

SHORTEST: Final = 15
"""Bytes of the shortest header, `PROXY UNKNOWN` and a line's end."""
LONGEST_LINE: Final = 107
"""Bytes of the longest header of version 1, says the protocol."""
LONGEST_BLOCK: Final = 4096
"""Bytes that may follow the first 16 of version 2. Addresses take 36; what a balancer adds to them is not looked at."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
_WORD: Final = b"PROXY "
_PORT = r"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(rf"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) {_PORT} {_PORT}\r\n", re.ASCII)
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_LAST_PORT: Final = 65535
_VERSION: Final = 2
_FAMILIES: Final = {0x11: (4, 12), 0x21: (16, 36)}
"""TCP over IPv4 and IPv6: bytes of an address, and of both addresses with their ports."""


class NotProxy(Exception):  # noqa: N818  # whoever reads the connection makes it an error with a code
    """What came is no header of the PROXY protocol. The text says why, and repeats nothing of it."""


def begins(data: bytes) -> bool:
    """Whether a connection that begins so speaks the PROXY protocol. TLS never begins like this."""
    return bool(data) and (_WORD.startswith(data[: len(_WORD)]) or _SIGNATURE.startswith(data[: len(_SIGNATURE)]))


def more(data: bytes) -> int:
    """How many bytes may be read after these without reading beyond the header; 0: it is complete.

    Raises:
        NotProxy: it can be no header any more.

    """
    if data and not begins(data):
        raise NotProxy("it begins otherwise")
    if len(data) < SHORTEST:
        return SHORTEST - len(data)
    if data.startswith(_SIGNATURE):
        if len(data) < _FIXED:
            return _FIXED - len(data)
        block = int.from_bytes(data[14:_FIXED], "big")
        if block > LONGEST_BLOCK:
            raise NotProxy(f"more than {LONGEST_BLOCK} bytes in version 2")
        return _FIXED + block - len(data)
    if data.endswith(b"\r\n"):
        return 0
    if len(data) >= LONGEST_LINE:
        raise NotProxy(f"more than {LONGEST_LINE} bytes in version 1")
    return 1


def caller(data: bytes) -> Address | None:
    """The address that a complete header names; None: the balancer speaks for itself, or does not know.

    Raises:
        NotProxy: it is none that we accept.

    """
    return _block(data) if data.startswith(_SIGNATURE) else _line(data)


def _line(data: bytes) -> Address | None:
    if len(data) <= LONGEST_LINE and _UNKNOWN.fullmatch(data):
        return None
    found = _LINE.fullmatch(data.decode("latin-1"))
    if found is None or len(data) > LONGEST_LINE or max(int(found[4]), int(found[5])) > _LAST_PORT:
        raise NotProxy("version 1 is not well-formed")
    kind = IPv4Address if found[1] == "TCP4" else IPv6Address
    try:
        kind(found[3])
        return plain_address(kind(found[2]))
    except ValueError:
        raise NotProxy("version 1 without two addresses of its family") from None


def _block(data: bytes) -> Address | None:
    if len(data) < _FIXED or len(data) != _FIXED + int.from_bytes(data[14:_FIXED], "big"):
        raise NotProxy("version 2 of another length than it says")
    version, command = divmod(data[12], 16)
    if version != _VERSION or command not in {0, 1}:
        raise NotProxy("another version or command than the protocol has")
    family = data[13]
    if command == 0 or family == 0:
        return None
    if family not in _FAMILIES:
        raise NotProxy("version 2 for something else than TCP over IPv4 or IPv6")
    width, both = _FAMILIES[family]
    if len(data) < _FIXED + both:
        raise NotProxy("version 2 without two addresses of its family")
    first = data[_FIXED : _FIXED + width]
    return plain_address(IPv4Address(first) if family == 0x11 else IPv6Address(first))  # noqa: PLR2004  # as above
