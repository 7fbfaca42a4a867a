"""Lines to a descriptor whose reader may be gone or stuck."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.host.stream import Stream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe as small as the kernel makes them."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    for end in (read, write):
        try:
            os.close(end)
        except OSError:
            continue


def test_lines_arrive_whole(tmp_path: Path) -> None:
    """Each line ends with one line break, in UTF-8."""
    with (tmp_path / "log").open("wb") as file:
        stream = Stream(file.fileno())
        assert stream.write("one")
        assert stream.write("zwölf \udcff")
    assert (tmp_path / "log").read_bytes() == "one\nzwölf \\udcff\n".encode()


def test_a_long_line_passes_a_small_pipe(pipe: tuple[int, int]) -> None:
    """A line many times as long as the pipe arrives while somebody reads."""
    read, write = pipe
    line = "x" * 100_000
    got: list[bytes] = []

    def drain() -> None:
        while sum(map(len, got)) <= len(line):
            got.append(os.read(read, 65536))

    reader = threading.Thread(target=drain)
    reader.start()
    assert Stream(write).write(line)
    reader.join()
    assert b"".join(got) == line.encode() + b"\n"


def test_a_stuck_reader_costs_one_wait(pipe: tuple[int, int]) -> None:
    """With nobody reading lines are lost, and only the first of them waits."""
    _, write = pipe
    stream = Stream(write)
    assert stream.write("x" * 4000)
    begin = time.monotonic()
    for _ in range(1000):
        assert not stream.write("y" * 4000)
    assert time.monotonic() - begin < 5


def test_after_a_torn_line_the_next_begins_anew(pipe: tuple[int, int]) -> None:
    """A line that was cut off by a full pipe is ended before the next one, so that it spoils no other."""
    read, write = pipe
    stream = Stream(write)
    assert not stream.write("a" * 10_000)
    first = os.read(read, 65536)
    assert set(first) == {ord("a")}
    assert stream.write("whole")
    assert os.read(read, 65536) == b"\nwhole\n"
    assert stream.write("next")
    assert os.read(read, 65536) == b"next\n"


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    """A broken pipe loses the line and raises nothing."""
    read, write = pipe
    os.close(read)
    assert not Stream(write).write("x")


def test_a_closed_descriptor_is_no_error(pipe: tuple[int, int]) -> None:
    """A stream that was closed under us loses the line and raises nothing."""
    _, write = pipe
    stream = Stream(write)
    os.close(write)
    assert not stream.write("x")


def test_a_full_socket_is_no_error() -> None:
    """A non-blocking stream, as a service manager may hand down, loses lines when it is full."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        stream = Stream(ours.fileno())
        written = [stream.write("x" * 4000) for _ in range(200)]
    assert written[0]
    assert not written[-1]
