"""Listening sockets, bound here or passed by systemd."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay.config.values import Endpoint
from relay.host.sockets import bound, passed

ROOT = Path(__file__).parents[2]

ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from relay.host.sockets import passed
for one in passed(os.environ):
    print(one.fileno(), one.getsockname()[1], one.getblocking(), one.get_inheritable())
    one.detach()
"""


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> contextlib.AbstractContextManager[list[socket.socket]]:  # type: ignore[misc]
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


async def test_an_address_is_listened_at() -> None:
    """IPv4 or IPv6, at a port that the system chooses when it is 0, without blocking, and not handed to children."""
    for host in ("127.0.0.1", "::1"):
        with closing(await bound(Endpoint(host, 0))) as sockets:
            (one,) = sockets
            socket.create_connection((host, one.getsockname()[1])).close()
            assert (one.getblocking(), one.get_inheritable()) == (False, False)


async def test_all_addresses_of_ipv6_take_ipv4_as_well() -> None:
    """`[::]` is one socket for both families; a single IPv6 address is for IPv6 alone."""
    with closing(await bound(Endpoint("::", 0))) as (one,):
        socket.create_connection(("127.0.0.1", one.getsockname()[1])).close()
    with closing(await bound(Endpoint("::1", 0))) as (one,):
        assert one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


async def test_a_name_is_listened_at_with_all_its_addresses() -> None:
    """Each address that the name has gets a socket."""
    with closing(await bound(Endpoint("localhost", 0))) as sockets:
        assert {one.getsockname()[0] for one in sockets} <= {"127.0.0.1", "::1"}
        assert sockets


async def test_an_address_that_cannot_be_had_leaves_nothing_open() -> None:
    """A port that is taken, a foreign address or an unknown name is an error, and no socket stays behind."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - only their number
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        for endpoint in (
            Endpoint("127.0.0.1", taken.getsockname()[1]),
            Endpoint("192.0.2.1", 0),
            Endpoint("no-such-name.invalid", 0),
        ):
            with pytest.raises(OSError):  # noqa: PT011 - of whatever kind
                await bound(endpoint)
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - only their number


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "7"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "many"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "8", "LISTEN_FDS": "1"},
    ],
)
def test_nothing_is_taken_that_is_not_for_this_process(environ: dict[str, str]) -> None:
    """Without both variables, or with another process's id, no descriptor is touched."""
    assert passed(environ, pid=7) == []


def test_passed_sockets_are_taken_over() -> None:
    """Of what systemd hands over the listening TCP sockets are ours; others are left alone, open or not."""
    listening, spoken = socket.create_server(("127.0.0.1", 0)), socket.socket()
    local, datagrams = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local.bind("\0relay-test-" + os.urandom(8).hex())
    local.listen()
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    given = [listening, spoken, local, datagrams, six]
    with closing(given):
        script = "import os, sys\n" + "".join(
            f"os.dup2({one.fileno()}, {100 + number})\n" for number, one in enumerate(given)
        )
        script += "".join(f"os.dup2({100 + number}, {3 + number})\n" for number in range(len(given)))
        script += "os.close(3 + 5) if os.path.exists('/proc/self/fd/8') else None\n"
        script += ACTIVATED
        environ = {**os.environ, "LISTEN_FDS": "6", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            pass_fds=[one.fileno() for one in given],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            f"3 {listening.getsockname()[1]} False False",
            f"7 {six.getsockname()[1]} False False",
        ]
