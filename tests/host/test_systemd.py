"""Words to the service manager."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.host import systemd
from relay.host.clock import Clock
from relay.host.systemd import Notifier, watchdog_interval


class Fixed(Clock):
    """A clock that stands."""

    def monotonic(self) -> float:
        """12.5 seconds, always."""
        return 12.5


@pytest.fixture(params=["library", "datagram"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The two ways to the manager: systemd-python, and a datagram by hand."""
    if request.param == "datagram":
        monkeypatch.setattr(systemd, "_library", None)
    elif systemd._library is None:
        pytest.skip("systemd-python is not installed")
    return str(request.param)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that stands for the service manager's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def heard(manager: socket.socket) -> list[str]:
    """The assignments of the next datagram."""
    return manager.recv(4096).decode().split("\n")


@pytest.mark.usefixtures("way")
def test_each_word_is_one_datagram(manager: socket.socket) -> None:
    """READY, STATUS, WATCHDOG and STOPPING arrive as systemd reads them, status and state together."""
    notifier = Notifier(Fixed())
    assert notifier.ready("polling")
    assert heard(manager) == ["READY=1", "STATUS=polling"]
    assert notifier.ready()
    assert heard(manager) == ["READY=1"]
    assert notifier.status("3 jobs")
    assert heard(manager) == ["STATUS=3 jobs"]
    assert notifier.watchdog()
    assert heard(manager) == ["WATCHDOG=1"]
    assert notifier.stopping("draining")
    assert heard(manager) == ["STOPPING=1", "STATUS=draining"]


@pytest.mark.usefixtures("way")
def test_reload_carries_its_time_in_the_same_datagram(manager: socket.socket) -> None:
    """RELOADING and MONOTONIC_USEC (microseconds) go together, else systemd ignores the reload."""
    assert Notifier(Fixed()).reloading()
    assert heard(manager) == ["RELOADING=1", "MONOTONIC_USEC=12500000"]


@pytest.mark.usefixtures("way")
def test_status_cannot_carry_another_assignment(manager: socket.socket) -> None:
    """A line break in a status text, which may quote the other side, starts no second assignment."""
    assert Notifier(Fixed()).status("down\nMAINPID=1" + "x" * 2000)
    (line,) = heard(manager)
    assert line.startswith("STATUS=down\\nMAINPID=1x")
    assert len(line) < 600


@pytest.mark.usefixtures("way")
def test_abstract_sockets_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NOTIFY_SOCKET that begins with @ is an abstract socket."""
    name = f"bseries-relay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name)
        channel.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert Notifier(Fixed()).watchdog()
        assert heard(channel) == ["WATCHDOG=1"]


@pytest.mark.usefixtures("way")
def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of systemd every word is a no, and no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not Notifier(Fixed()).ready()


@pytest.mark.usefixtures("way")
def test_a_manager_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket that nobody holds makes the word a no, and no error."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not Notifier(Fixed()).ready()


def test_a_failing_library_is_replaced_by_a_datagram(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness does not depend on systemd-python: what it cannot send goes by hand."""

    class Broken:
        @staticmethod
        def notify(_message: str) -> bool:
            raise OSError(22, "broken")

    monkeypatch.setattr(systemd, "_library", Broken)
    assert Notifier(Fixed()).ready()
    assert heard(manager) == ["READY=1"]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "77"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], seconds: float | None) -> None:
    """The watchdog's interval counts for this process only, and nonsense means none."""
    assert watchdog_interval(environ, 77) == seconds


def test_watchdog_interval_asks_for_the_own_process() -> None:
    """Without a given number the process's own is compared."""
    assert watchdog_interval({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}) == 1.0


def test_without_systemd_python_readiness_is_still_sent(manager: socket.socket) -> None:
    """A host without the compiled library sends the same words, and its logs need no journal."""
    program = """if True:
        import sys
        sys.modules["systemd"] = None
        from relay.host import logs
        from relay.host.clock import Clock
        from relay.host.systemd import Notifier
        assert logs._journal is None
        assert Notifier(Clock()).ready()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert heard(manager) == ["READY=1"]
