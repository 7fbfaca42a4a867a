"""The doctor looks at this machine and at the listener."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.doctoring import consulted, named, only, skipped, wrong
from support.tls import Authority

from relay.core.space import KEEPSAKES, RESERVE
from relay.daemon.doctor import with_credentials
from relay.host.clock import Clock
from relay.host.hardening import AS_ROOT

STATUS = {"state": "working", "version": "1", "conditions": []}


class Stopped(Clock):
    """A clock that was never set."""

    __slots__ = ()

    def wall(self) -> float:
        return 3600.0


async def test_a_machine_on_which_all_is_well(tmp_path: Path) -> None:
    """Nothing is wrong; the running relay's state is told, and what it complains of is counted."""
    async with consulted(tmp_path) as seen:
        checks = seen.machine()
        assert (wrong(checks), skipped(checks)) == ([], [])
        assert only(checks, "relay").detail == "it does not run here"
        assert only(seen.machine(STATUS), "relay").detail == "working, version 1"
        told = only(seen.machine(STATUS | {"conditions": [{"subject": "x"}]}), "relay").detail
        assert "1 condition(s)" in told
        assert not (seen.box.directory / "state/lock").exists()


async def test_what_the_configuration_says_in_vain(tmp_path: Path) -> None:
    """A part that this version does not have is a warning with its place."""
    async with consulted(tmp_path) as seen:
        seen.configure("servicenow: {wake: amb}\n")
        checks = seen.machine()
        assert wrong(checks) == [("configuration", "warning", 1017)]
        assert "test.yaml:1:" in only(checks, "configuration").detail


async def test_the_state_folder(tmp_path: Path) -> None:
    """One that is not there yet is made; one that others can write to, or that is no folder, is an error."""
    async with consulted(tmp_path) as seen:
        state = seen.box.directory / "state"
        state.chmod(0o777)
        checks = seen.machine()
        assert wrong(checks) == [("state folder", "error", 5001)]
        assert "chmod go-w" in only(checks, "state folder").detail
        seen.configure(f"storage: {{directory: {tmp_path}/new/state}}\n")
        assert only(seen.machine(), "state folder").detail.endswith("made at the first start")
        assert not (tmp_path / "new").exists()
        file = tmp_path / "file"
        file.touch()
        seen.configure(f"storage: {{directory: {file}}}\n")
        assert ("state folder", "error", 5001) in wrong(seen.machine())


@pytest.mark.parametrize(("free", "result"), [(RESERVE - 1, "error"), (KEEPSAKES - 1, "warning")])
async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, result: str) -> None:
    """Too little room for work is an error, little room a warning."""
    monkeypatch.setattr("relay.daemon.doctor_machine.free_bytes", lambda _: free)
    async with consulted(tmp_path) as seen:
        assert wrong(seen.machine()) == [("disk", result, 5004)]


async def test_a_folder_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that does not answer is the state folder's error."""

    def fail(_: Path) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("relay.daemon.doctor_machine.free_bytes", fail)
    async with consulted(tmp_path) as seen:
        checks = seen.machine()
        assert wrong(checks) == [("state folder", "error", 5001)]
        assert skipped(checks) == ["disk"]


async def test_a_process_that_is_not_guarded(tmp_path: Path) -> None:
    """What others could do to it is a warning; that root asks is none, since the service is another user."""
    async with consulted(tmp_path) as seen:
        assert wrong(seen.machine(exposed=[AS_ROOT])) == []
        checks = seen.machine(exposed=["a crash may leave its memory in a core file", AS_ROOT])
        assert wrong(checks) == [("process", "warning", 1029)]
        assert "root" not in only(checks, "process").detail


async def test_the_storage_key(tmp_path: Path) -> None:
    """One that the relay makes for itself is a warning; one that is too short or gone is an error."""
    async with consulted(tmp_path) as seen:
        key = seen.box.directory / "credentials/storage_key"
        key.write_text("short")
        assert wrong(seen.machine()) == [("storage key", "error", 5009)]
        key.unlink()
        assert wrong(seen.machine()) == [("storage key", "error", 1009)]
        seen.configure("storage: {key: null}\n")
        assert wrong(seen.machine()) == [("storage key", "warning", 5013)]


async def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    """It is an error by itself, without anybody to compare it with."""
    async with consulted(tmp_path) as seen:
        seen.clock = Stopped()
        assert wrong(seen.machine()) == [("clock", "error", 2021)]


async def test_a_listener_on_which_all_is_well(tmp_path: Path) -> None:
    """Its certificate, names and address are told; the address is free, or the running relay's."""
    async with consulted(tmp_path, listens=True) as seen:
        checks = await seen.listener()
        assert (wrong(checks), skipped(checks)) == ([], [])
        assert "localhost, 127.0.0.1" in only(checks, "names").detail
        assert only(checks, "address").detail.endswith("is free")
        assert "needs a reload" in only(await seen.listener(STATUS), "address").detail
        assert seen.settings.listener is not None
        with socket.create_server(("127.0.0.1", seen.settings.listener.listen.port)):
            assert only(await seen.listener(STATUS), "address").detail.endswith("the running relay has it")


async def test_no_listener(tmp_path: Path) -> None:
    """Where nothing listens and nothing is stored there is nothing to tell."""
    async with consulted(tmp_path) as seen:
        assert await seen.listener() == []


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """Somebody else's socket is an error, as is what the running relay says of its own."""
    async with consulted(tmp_path, listens=True) as seen:
        assert seen.settings.listener is not None
        with socket.create_server(("127.0.0.1", seen.settings.listener.listen.port)):
            assert wrong(await seen.listener()) == [("address", "error", 6001)]
        trouble = STATUS | {"conditions": [{"subject": "listener", "error": "BSR-6001: taken"}]}
        checks = await seen.listener(trouble)
        assert wrong(checks) == [("address", "error", 6001)]
        assert only(checks, "address").detail == "BSR-6001: taken"


async def test_the_listeners_certificate(tmp_path: Path) -> None:
    """One that ends soon is a warning; a key of another certificate is an error; one without names is a warning."""
    async with consulted(tmp_path, listens=True) as seen:
        box = seen.box
        assert seen.settings.listener is not None
        file, key = seen.settings.listener.tls.certificate, box.directory / "credentials/listener_key"
        certificate, private = box.authority.files("listener", days=20)
        file.write_bytes(certificate)
        key.write_bytes(private)
        assert wrong(await seen.listener()) == [("certificate", "warning", 1026)]
        other = Authority(tmp_path / "other").issue()
        file.write_bytes(other.chain.read_bytes())
        checks = await seen.listener()
        assert wrong(checks) == [("certificate", "error", 1009)]
        assert skipped(checks) == ["names"]
        assert only(checks, "address").result == "ok"


async def test_a_certificate_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No appliance believes one."""
    monkeypatch.setattr("relay.daemon.doctor_listener.names_in", lambda _: ())
    async with consulted(tmp_path, listens=True) as seen:
        assert wrong(await seen.listener()) == [("names", "warning", 1009)]


async def test_the_folder_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there is an error, one without room too; it is looked at without a listener as well."""
    folder = tmp_path / "recordings"
    async with consulted(tmp_path) as seen:
        seen.configure(f"sessions: {{recordings: store, recording_folder: {folder}}}\n")
        assert wrong(await seen.listener()) == [("recordings", "error", 5014)]
        folder.mkdir()
        checks = await seen.listener()
        assert [check.name for check in checks] == ["recordings"]
        assert wrong(checks) == []
        with monkeypatch.context() as patch:
            patch.setattr("relay.daemon.doctor_listener.free_bytes", lambda _: 5)
            assert wrong(await seen.listener()) == [("recordings", "error", 5004)]
        monkeypatch.setattr("relay.daemon.doctor_listener.os.access", lambda *_: False)
        assert wrong(await seen.listener()) == [("recordings", "error", 5014)]


async def test_credentials_of_the_running_service(tmp_path: Path) -> None:
    """Where credentials are named and nobody handed out any, those of the service are used, if readable."""
    async with consulted(tmp_path) as seen:
        handed = tmp_path / "handed"
        assert with_credentials(seen.settings, {}, handed) == {}
        seen.configure("storage: {key: {credential: storage_key}}\n")
        assert with_credentials(seen.settings, {}, handed) == {}
        handed.mkdir()
        assert with_credentials(seen.settings, {}, handed) == {}
        (handed / "storage_key").write_text("k" * 40)
        environ = with_credentials(seen.settings, {"A": "b"}, handed)
        assert environ == {"A": "b", "CREDENTIALS_DIRECTORY": str(handed)}
        given = {"CREDENTIALS_DIRECTORY": "/elsewhere"}
        assert with_credentials(seen.settings, given, handed) == given
        assert named(seen.machine(), "storage key")[0].number == 1009
