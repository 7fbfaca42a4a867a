"""Where things lie, by environment, user and configuration."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from relay.host import folders
from relay.host.folders import find_folders

NOTHING: dict[str, str] = {}


def nowhere(_folder: Path) -> bool:
    """A user who may use no system folder."""
    return False


def everywhere(_folder: Path) -> bool:
    """A user who may use every system folder."""
    return True


def test_systemd_names_every_folder() -> None:
    """Under systemd its variables decide, also for root, and the second state folder holds the key."""
    environ = {
        "STATE_DIRECTORY": "/var/lib/x:/var/lib/x-key",
        "RUNTIME_DIRECTORY": "/run/x",
    }
    found = find_folders(environ, root=True)
    assert (found.state, found.key) == (Path("/var/lib/x"), Path("/var/lib/x-key"))
    assert found.socket == Path("/run/x/control.sock")


def test_root_uses_the_system_folders() -> None:
    """Root without systemd uses /var/lib and /run."""
    found = find_folders(NOTHING, root=True, usable=nowhere)
    assert found.state == Path("/var/lib/bseries-relay")
    assert found.key == Path("/var/lib/bseries-relay-key")
    assert found.sockets == (Path("/run/bseries-relay/control.sock"),)


def test_unprivileged_run_falls_back_to_user_folders() -> None:
    """A user who cannot use the system's folders gets platformdirs' own."""
    found = find_folders({"XDG_RUNTIME_DIR": "/run/user/7"}, root=False, usable=nowhere)
    assert found.state == platformdirs.user_state_path("bseries-relay")
    assert found.socket == Path("/run/user/7/bseries-relay/control.sock")


def test_unprivileged_run_without_a_session_keeps_the_socket_with_its_state() -> None:
    """Without a runtime folder of the user's session the socket is in the state folder, never in /tmp."""
    found = find_folders(NOTHING, root=False, usable=nowhere)
    assert found.socket == found.state / "control.sock"


def test_user_with_rights_uses_the_system_folders() -> None:
    """The service's own user, in a shell without systemd's variables, means the service's folders."""
    found = find_folders(NOTHING, root=False, usable=everywhere)
    assert found.state == Path("/var/lib/bseries-relay")


def test_client_also_looks_in_the_system_runtime_folder() -> None:
    """A member of the group, who may not write /run/bseries-relay, still looks for the control socket there."""
    assert find_folders(NOTHING, root=False, usable=nowhere).sockets[-1] == Path("/run/bseries-relay/control.sock")


def test_storage_directory_overrides_the_state_and_holds_the_socket(tmp_path: Path) -> None:
    """`storage.directory` beats the state folder, and holds the socket when systemd gave no runtime folder."""
    found = find_folders({"STATE_DIRECTORY": "/var/lib/x"}, storage=tmp_path / "store", root=True)
    assert found.state == tmp_path / "store"
    assert found.key == tmp_path / "store-key"
    assert found.socket == tmp_path / "store/control.sock"


def test_runtime_folder_beats_storage_directory_for_the_socket(tmp_path: Path) -> None:
    """With a runtime folder of systemd the daemon binds there, and a client in a shell finds both places."""
    found = find_folders({"RUNTIME_DIRECTORY": "/run/x"}, storage=tmp_path, root=True)
    assert found.socket == Path("/run/x/control.sock")
    assert tmp_path / "control.sock" in found.sockets
    shell = find_folders(NOTHING, storage=tmp_path, root=True)
    assert shell.sockets == (tmp_path / "control.sock", Path("/run/bseries-relay/control.sock"))


def test_key_stays_with_systemd_when_only_the_state_moves(tmp_path: Path) -> None:
    """A unit whose state is moved by the configuration keeps the key in the folder that systemd made for it."""
    found = find_folders({"STATE_DIRECTORY": "/var/lib/x:/var/lib/x-key"}, storage=tmp_path, root=True)
    assert (found.state, found.key) == (tmp_path, Path("/var/lib/x-key"))


@pytest.mark.parametrize("value", ["", "relative", ":", "relative:also"])
def test_variables_without_absolute_paths_are_ignored(value: str) -> None:
    """An empty or relative variable is no folder of systemd's."""
    assert find_folders({"STATE_DIRECTORY": value}, root=True).state == Path("/var/lib/bseries-relay")


def test_rights_are_asked_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an override a missing system folder is not used, and one that may be used is."""
    monkeypatch.setattr(folders, "_STATE", tmp_path / "absent")
    assert find_folders(NOTHING, root=False).state == platformdirs.user_state_path("bseries-relay")
    monkeypatch.setattr(folders, "_STATE", tmp_path)
    assert find_folders(NOTHING, root=False).state == tmp_path
    assert isinstance(find_folders(NOTHING).state, Path)
