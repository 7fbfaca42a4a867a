"""Where secrets are read from, and when they are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.host.secrets import MAX_BYTES, SecretReader


def file_with(folder: Path, data: bytes, mode: int = 0o600) -> SecretRef:
    path = folder / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return SecretRef("file", str(path))


def refusal(ref: SecretRef, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        SecretReader(environ or {}).read(ref)
    assert "hunter2" not in caught.value.text
    return caught.value


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_private_file_is_read(tmp_path: Path, mode: int) -> None:
    """A file that others cannot read and the group cannot write is a secret."""
    assert SecretReader({}).read(file_with(tmp_path, b"hunter2", mode)) == Secret("hunter2")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620, 0o660, 0o666])
def test_a_file_that_is_not_private_is_refused(tmp_path: Path, mode: int) -> None:
    """Readable or writable by others, or writable by the group, is BSR-1010 and names the mode."""
    error = refusal(file_with(tmp_path, b"hunter2", mode))
    assert error.number == 1010
    assert f"{mode:04o}" in error.detail


def test_a_file_that_others_could_replace_is_refused(tmp_path: Path) -> None:
    """Who may write to its folder could put another secret there: BSR-1010, with the folder and what to do."""
    ref = file_with(tmp_path, b"hunter2")
    tmp_path.chmod(0o770)
    error = refusal(ref)
    assert error.number == 1010
    assert f"chmod go-w {tmp_path}" in error.detail


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        ("pässwörd".encode(), "pässwörd"),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_one_line_end_is_not_part_of_a_secret(tmp_path: Path, data: bytes, text: str) -> None:
    """Exactly one trailing line end goes; everything else is the secret."""
    assert SecretReader({}).read(file_with(tmp_path, data)).reveal() == text


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"hunter2\xff", b"hunter2\0", b"x" * (MAX_BYTES + 1), b"\xef\xbb\xbfhunter2"],
    ids=["empty", "newline", "binary", "nul", "large", "marked"],
)
def test_what_is_no_secret(tmp_path: Path, data: bytes) -> None:
    """Empty, binary and oversized files, and those with a byte order mark, are BSR-1009."""
    assert refusal(file_with(tmp_path, data)).number == 1009


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing file, a folder and a FIFO (which would wait for a writer) are BSR-1009."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (tmp_path / "absent", tmp_path, fifo):
        assert refusal(SecretRef("file", str(path))).number == 1009


def test_a_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    """A rotated file is noticed at the next read."""
    ref = file_with(tmp_path, b"old")
    reader = SecretReader({})
    assert reader.read(ref) == Secret("old")
    file_with(tmp_path, b"new")
    assert reader.read(ref) == Secret("new")


def test_a_credential_is_in_systemds_folder(tmp_path: Path) -> None:
    """A credential is read by its name; systemd guards the folder, so the file's mode does not matter."""
    (tmp_path / "pw").write_text("hunter2\n")
    (tmp_path / "pw").chmod(0o444)
    reader = SecretReader({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert reader.read(SecretRef("credential", "pw")) == Secret("hunter2")


def test_a_missing_credential_tells_of_the_restart(tmp_path: Path) -> None:
    """A credential that is not there is BSR-1009, and says that systemd hands them out at start."""
    error = refusal(SecretRef("credential", "absent"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert error.number == 1009
    assert "restart" in error.detail


def test_no_credentials_at_all() -> None:
    """Outside systemd the error tells what is missing."""
    assert "CREDENTIALS_DIRECTORY" in refusal(SecretRef("credential", "pw")).detail


@pytest.mark.parametrize("name", ["../pw", "/etc/passwd", "a/b", "..", ".", "", "a\0b"])
def test_a_credentials_name_is_no_path(tmp_path: Path, name: str) -> None:
    """A name cannot lead out of the folder."""
    assert refusal(SecretRef("credential", name), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).number == 1009


def test_the_latest_reading_outlasts_a_bad_file(tmp_path: Path) -> None:
    """Once it was readable a secret stays what it was until its file can be read again; before that there is none."""
    reader = SecretReader({})
    ref = SecretRef("file", str(tmp_path / "secret"))
    with pytest.raises(ConfigError, match="BSR-1009"):
        reader.latest(ref)
    file_with(tmp_path, b"first")
    assert reader.latest(ref) == Secret("first")
    for data, mode in ((b"", 0o600), (b"second", 0o644), (b"\xff", 0o600)):
        file_with(tmp_path, data, mode)
        with pytest.raises(ConfigError):
            reader.read(ref)
        assert reader.latest(ref) == Secret("first")
    file_with(tmp_path, b"second")
    assert reader.latest(ref) == Secret("second")
    assert SecretReader({}).latest(ref) == Secret("second")
