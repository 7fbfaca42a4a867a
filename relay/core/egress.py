"""What a configuration needs of the network, as values: the rows of a firewall table, and systemd's address filter.

Why the filter is worked out from the same rows: what the table promises to a security team is what the kernel then
enforces, and neither can be forgotten when the other changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

ANY: Final = "any"
"""A peer that the configuration does not tell."""

LOCALHOST: Final = "localhost"
"""This machine itself, in systemd's words: 127.0.0.0/8 and ::1."""

_HEAD: Final = """\
# bseries-relay egress --systemd, {made}
#
# Recommended only with a proxy to ServiceNow, or where the addresses below are fixed: the kernel knows no names, so
# that a name that moves cuts the relay off. Make this file anew then, and after every change of the configuration.
# The kernel compares addresses alone; ports are compared by the relay itself.
#
# Save it as /etc/systemd/system/bseries-relay.service.d/egress.conf, then:
# systemctl daemon-reload && systemctl restart bseries-relay

[Service]
IPAddressDeny=any
"""


@dataclass(frozen=True, slots=True)
class Flow:
    """One row of the firewall table.

    Attributes:
        direction: who begins the connection: this machine ("out") or the other one ("in").
        source: where it comes from, for people.
        to: host name or address that it goes to.
        port: where it goes to.
        protocol: of the transport.
        carries: what it speaks above that.
        why: what it is for.
        blocked: what stops working without it.
        peers: the other end: host names, addresses or networks, `localhost`, or `any`.
        code: what the relay reports when an outbound one fails; None of others.

    """

    direction: Literal["out", "in"]
    source: str
    to: str
    port: int
    protocol: Literal["tcp", "udp"]
    carries: str
    why: str
    blocked: str
    peers: tuple[str, ...]
    code: int | None = None


def is_address(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address, as opposed to a name or network."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def names_in(flows: Iterable[Flow]) -> tuple[str, ...]:
    """The host names that must be looked up for these flows, each once."""
    outbound = (peer for flow in flows if flow.direction == "out" for peer in flow.peers)
    return tuple(dict.fromkeys(peer for peer in outbound if not is_address(peer)))


def drop_in(flows: Iterable[Flow], addresses: Mapping[str, tuple[str, ...]], made: str) -> tuple[str, tuple[str, ...]]:
    """A drop-in for the unit that lets the kernel refuse every address but these, and what to know about it.

    Args:
        flows: the table.
        addresses: what the names of `names_in` resolve to now.
        made: when, for the reader.

    """
    allowed: dict[str, str] = {}
    notes: list[str] = []
    for flow in flows:
        for peer in flow.peers:
            if peer == ANY:
                note = f"{flow.why}: the configuration does not tell from where; add IPAddressAllow= for it"
                notes.append(note)
                allowed[note] = ""
            elif peer in addresses:
                found = " ".join(addresses[peer])
                notes.append(f"{peer}: good as long as its addresses stay {found}")
                allowed[f"{flow.why}: {peer}"] = found
            else:
                # A zone says through which of this machine's networks, which the filter does not ask.
                address = peer.partition("%")[0]
                allowed[f"{flow.why}: {address}"] = address
    lines = _HEAD.format(made=made).splitlines()
    for why, found in allowed.items():
        lines += ["", f"# {why}", *([f"IPAddressAllow={found}"] if found else [])]
    return "\n".join(lines), tuple(dict.fromkeys(notes))
