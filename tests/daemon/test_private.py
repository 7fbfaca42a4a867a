"""What the daemon leaves on disk, and what others could see of its process."""

from __future__ import annotations

import stat
from pathlib import Path

from support.daemon import FAST, world


def modes(*folders: Path) -> dict[Path, str]:
    """Kind and mode of everything in these folders, and of themselves."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: stat.filemode(path.lstat().st_mode) for path in found}


async def test_everything_that_the_daemon_makes_is_its_own(tmp_path: Path) -> None:
    """After real work each file is 0600, each folder 0700, and the control socket alone is open to the group."""
    async with world(tmp_path, drop_in=f"{FAST}storage: {{key: null}}\n") as made:
        made.put(12)
        await made.processed()
        state = made.state
        found = modes(state, state.with_name(state.name + "-key"))
        kinds = {path: mode for path, mode in found.items() if mode not in {"-rw-------", "drwx------"}}
        assert {path.name: mode for path, mode in kinds.items()} == {"control.sock": "srw-rw----"}
        names = {path.name for path in found}
        assert {"store.db", "lock", "audit", "storage.key"} <= names


async def test_the_daemon_is_hardened(tmp_path: Path) -> None:
    """The running daemon has no core file and a mask that makes files private; what remains is in the log."""
    async with world(tmp_path) as made:
        process = Path("/proc", str(made.daemon.pid))
        assert "Max core file size        0                    0" in (process / "limits").read_text()
        assert "Umask:\t0077" in (process / "status").read_text()
        told = [line["reason"] for line in made.log() if line["event"] == "daemon.exposed"]
        assert all("root" in reason for reason in told)
