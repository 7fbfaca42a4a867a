"""Names and addresses of this machine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from relay.host.names import Found, look_up, resolvers


def test_name_servers_are_those_of_the_file(tmp_path: Path) -> None:
    """The first three addresses of resolv.conf count, whatever else stands there."""
    file = tmp_path / "resolv.conf"
    file.write_bytes(
        b"# nameserver 10.0.0.9\nsearch example\nnameserver\nnameserver 127.0.0.53\nnameserver fe80::1%eth0 \xff\n"
        b"nameserver nonsense\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
    )
    assert resolvers(file) == ("127.0.0.53", "fe80::1%eth0", "10.0.0.2")


@pytest.mark.parametrize("text", ["", "search example\n"])
def test_without_name_servers_this_machine_is_asked(tmp_path: Path, text: str) -> None:
    """A file that names nobody means 127.0.0.1, as the C library has it; so does no file."""
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    assert resolvers(file) == resolvers(tmp_path / "absent") == ("127.0.0.1",)


def test_names_have_addresses_or_trouble() -> None:
    """Each name has its addresses, or why it has none."""
    found = look_up(["localhost", "nowhere.invalid", "x" * 300], 10.0)
    assert "127.0.0.1" in found["localhost"].addresses
    assert found["nowhere.invalid"].addresses == found["x" * 300].addresses == ()
    assert found["nowhere.invalid"].trouble
    assert found["x" * 300].trouble


def test_a_name_server_that_is_silent_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that does not end is left behind."""
    release = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        release.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    assert look_up(["a.example"], 0.05) == {"a.example": Found(trouble="no answer within 0.05 s")}
    release.set()


def test_addresses_are_told_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv4 comes first, each address once, a zone left out."""
    answers = ["2001:db8::1", "192.0.2.9", "fe80::1%eth0", "192.0.2.9", "192.0.2.10"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (one, 0)) for one in answers])
    assert look_up(["a"], 5.0)["a"].addresses == ("192.0.2.9", "192.0.2.10", "2001:db8::1", "fe80::1")
