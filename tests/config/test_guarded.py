"""Files that the relay believes, and who else could change them."""

from __future__ import annotations

from pathlib import Path

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


def test_a_file_that_vanishes_is_for_others_to_tell(tmp_path: Path) -> None:
    """What cannot be looked at is not called open: whoever reads the file says what is wrong."""
    assert open_to_others(tmp_path / "gone" / "file", 0o100600) is None


@pytest.mark.parametrize("mode", [0o770, 0o1777])
def test_drop_ins_are_refused_where_others_can_add_one(tmp_path: Path, mode: int) -> None:
    """The folder of the main file is where `conf.d` would be made, so that no sticky bit makes it good."""
    folder = tmp_path / "etc"
    folder.mkdir()
    write_files(folder, SMALLEST)
    folder.chmod(mode)
    (line,) = [line for line in headlines(folder, SMALLEST) if "add drop-ins" in line]
    assert "BSR-1010" in line
    assert line.endswith(f"run: chmod go-w {folder}")
