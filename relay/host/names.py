"""Names and addresses as this machine knows them, for commands that need them once.

The daemon's connections look up their names by themselves, in `relay.host.network`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from relay.core.egress import is_address

RESOLV_CONF = Path("/etc/resolv.conf")
_DEFAULT = "127.0.0.1"
"""Where the C library asks when the file names nobody."""
_MOST = 3
"""Name servers that the C library uses; it ignores further ones."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one name. `addresses`: each once, IPv4 first; `trouble`: why there are none, else ""."""

    addresses: tuple[str, ...] = ()
    trouble: str = ""


def resolvers(file: Path = RESOLV_CONF) -> tuple[str, ...]:
    """The name servers that this machine asks."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]
    return tuple(dict.fromkeys(one for one in named if is_address(one)))[:_MOST] or (_DEFAULT,)


def look_up(names: Sequence[str], seconds: float) -> dict[str, Found]:
    """The addresses of names, all asked at once, within `seconds` altogether.

    Why threads that are left behind: the C library's look-up cannot be ended, and may take minutes.
    """
    found: dict[str, Found] = {}
    threads = [threading.Thread(target=_look_up, args=(name, found), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {name: found.get(name, Found(trouble=f"no answer within {seconds:g} s")) for name in names}


def _look_up(name: str, found: dict[str, Found]) -> None:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        found[name] = Found(trouble=getattr(error, "strerror", None) or type(error).__name__)
        return
    addresses = {ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers}
    found[name] = Found(tuple(map(str, sorted(addresses, key=lambda one: (one.version, int(one))))))
