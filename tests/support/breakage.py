"""Faults made from outside of a process: failing or deadly system calls, small and read-only disks, power cuts."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """The environment of a program that may import the relay and the tests' helpers."""
    paths = f"{ROOT}:{ROOT / 'tests'}"
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def _traceable() -> str:
    """Why nothing can be traced here, "" when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    command = ["strace", "-f", "-o", "/dev/null", "-e", "inject=sync:error=EIO", "true"]
    return "" if subprocess.run(command, capture_output=True, check=False).returncode == 0 else "strace may not trace"


def broken_calls(inject: str, module: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a module of the tests with a fault that strace injects, `fdatasync:signal=KILL:when=3` for example.

    `when` counts the calls of each thread by itself.
    """
    if reason := _traceable():
        pytest.skip(reason)
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}", sys.executable, "-m", module]
    command += map(str, words)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=30)


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """A file system of its own, of a fixed size, in memory."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(folder: Path) -> None:
    """Turn a mounted file system read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all space that is left; deleting the returned file gives it back."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return path


@contextlib.contextmanager
def power_cuts(mount: Path, cuts: Path) -> Iterator[None]:
    """A file system in `mount` that forgets what was not synced; what each moment's cut leaves goes to `cuts`.

    See `support.powercut`.
    """
    mount.mkdir()
    cuts.mkdir()
    if not os.access("/dev/fuse", os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("FUSE is not here")
    pytest.importorskip("mfusepy")
    command = [sys.executable, "-m", "support.powercut", str(mount), str(cuts)]
    server = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not mount.is_mount():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip("FUSE may not be used")
            time.sleep(0.01)
        yield
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False, capture_output=True)
        server.terminate()
        server.wait(10)


def worked(what: str, folder: Path, acks: Path) -> None:
    """Do a kind of `support.diskwork` to its end."""
    command = [sys.executable, "-m", "support.diskwork", what, str(folder), str(acks)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
