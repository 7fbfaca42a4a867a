"""Files that the relay believes, and who else could change them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.configuration import SMALLEST, headlines, write_files

from relay.config.guarded import open_to_others


def placed(tmp_path: Path) -> Path:
    """A file two folders deep, nobody else's."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True, mode=0o755)
    path = folder / "file"
    path.write_text("x")
    path.chmod(0o640)
    return path


def why(path: Path) -> str | None:
    """As the file is now."""
    return open_to_others(path, path.stat().st_mode)


def test_a_file_of_its_owner_is_believed(tmp_path: Path) -> None:
    """Neither it nor a folder above it can be written by others; a folder like `/tmp` above does not matter."""
    assert why(placed(tmp_path)) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o777])
def test_a_file_that_others_can_write_is_not(tmp_path: Path, mode: int) -> None:
    """The file's own mode counts."""
    path = placed(tmp_path)
    path.chmod(mode)
    assert why(path) == f"others than its owner may write here; run: chmod go-w {path}"


@pytest.mark.parametrize("mode", [0o775, 0o757])
@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_file_in_a_folder_that_others_can_write_is_not(tmp_path: Path, mode: int, above: int) -> None:
    """Who may write to any folder on the path can put another file in the place of this one."""
    path = placed(tmp_path)
    folder = path.parents[above]
    folder.chmod(mode)
    assert (why(path) or "").endswith(f"; run: chmod go-w {folder}")
    folder.chmod(0o1777)
    assert why(path) is None


def test_the_folders_on_both_sides_of_a_link_count(tmp_path: Path) -> None:
    """A link is judged by the folder that it stands in and by those that it leads to."""
    path = placed(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert why(link) is None
    path.parent.chmod(0o777)
    assert str(path.parent) in (why(link) or "")
    path.parent.chmod(0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    other = tmp_path / "open" / "link"
    other.symlink_to(path)
    assert str(other.parent) in (why(other) or "")


@pytest.mark.parametrize("relative", [True, False])
def test_a_folder_between_two_links_counts(tmp_path: Path, *, relative: bool) -> None:
    """A link that leads to a link: who may write to the folder in which the second one stands can turn it elsewhere."""
    path = placed(tmp_path)
    between = tmp_path / "between"
    between.mkdir(mode=0o755)
    (between / "second").symlink_to("../a/b" if relative else path.parent)
    first = tmp_path / "first"
    first.symlink_to("between/../between/second" if relative else between / "second")
    assert why(first / "file") is None
    between.chmod(0o777)
    assert why(first / "file") == (
        f"others may put another file here, since they may write to {between}; run: chmod go-w {between}"
    )


def test_links_in_a_circle_are_for_others_to_tell(tmp_path: Path) -> None:
    """A file that became a circle of links after it was opened is not walked for ever."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert why(placed(tmp_path)) is None
    assert open_to_others(tmp_path / "one", 0o100600) is None


def test_a_file_that_vanishes_is_for_others_to_tell(tmp_path: Path) -> None:
    """What cannot be looked at is not called open: whoever reads the file says what is wrong."""
    assert open_to_others(tmp_path / "gone" / "file", 0o100600) is None


@pytest.mark.parametrize("mode", [0o770, 0o1777])
def test_drop_ins_are_refused_where_others_can_add_one(tmp_path: Path, mode: int) -> None:
    """No sticky bit makes a folder of drop-ins good that others can write to."""
    write_files(tmp_path, SMALLEST, a="version: 1\n")
    folder = tmp_path / "conf.d"
    folder.chmod(mode)
    (line,) = [line for line in headlines(tmp_path, SMALLEST, a="version: 1\n") if "add drop-ins" in line]
    assert "BSR-1010" in line
    assert line.endswith("run: chmod go-w conf.d")


def test_drop_ins_of_a_stranger_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everybody may make folders, as in `/tmp`, a folder of drop-ins that somebody else made does not count."""
    write_files(tmp_path, SMALLEST, a="version: 1\n")
    stranger = os.geteuid() + 54321
    real = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:4], stranger, *found[5:10])) if path.name == "conf.d" else found

    monkeypatch.setattr(Path, "stat", stat)
    (line,) = [line for line in headlines(tmp_path, SMALLEST, a="version: 1\n") if "made it, who is" in line]
    assert "BSR-1010" in line
    assert f"user {stranger} made it" in line


def test_a_developers_own_folder_may_be_open_to_his_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every user has a group of his own his folders are writable by it; root's are not, and no stranger's."""
    path = placed(tmp_path)
    path.parent.chmod(0o775)
    owner = path.parent.stat().st_uid + 4711
    os.chown(path.parent, owner, -1)
    assert why(path) is not None
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert why(path) is None
    path.parent.chmod(0o777)
    assert why(path) is not None
