"""Bodies within their bounds, fed in any pieces."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.host.bodies import (
    MEMBERS,
    STEP,
    WIRE_ALLOWANCE,
    Body,
    BodyLimit,
    TooLargeError,
    TruncatedError,
    UndecodableError,
)


def collect(data: bytes, encoding: str, limit: BodyLimit, piece: int = 65536) -> bytes:
    body = Body(encoding, limit)
    for start in range(0, len(data), piece):
        body.feed(data[start : start + piece])
        while body.step():
            pass
    return body.finish()


@given(st.binary(max_size=2000), st.integers(1, 600), st.sampled_from(["", "identity", "gzip", "X-GZIP "]))
def test_a_body_is_what_was_sent(data: bytes, piece: int, encoding: str) -> None:
    """Every encoding, in pieces of any size, gives the body back."""
    wire = gzip.compress(data) if "gzip" in encoding.lower() else data
    assert collect(wire, encoding, BodyLimit(2000), piece) == data


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 100), st.booleans())
def test_a_body_is_whole_or_its_size_is_told(data: bytes, keep: int, more: int, packed: bool) -> None:
    """Up to `keep` the body, up to `count` its size, beyond neither."""
    limit = BodyLimit(keep, keep + more)
    wire, encoding = (gzip.compress(data), "gzip") if packed else (data, "")
    if len(data) <= keep:
        assert collect(wire, encoding, limit) == data
        return
    with pytest.raises(TooLargeError) as caught:
        collect(wire, encoding, limit)
    assert caught.value.size == (len(data) if len(data) <= keep + more else None)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400))
def test_a_cut_stream_is_never_a_body(data: bytes, cut: int) -> None:
    """A gzip stream without its end is incomplete, wherever it was cut."""
    wire = gzip.compress(data)
    with pytest.raises(TruncatedError):
        collect(wire[: max(1, len(wire) - cut)], "gzip", BodyLimit(1000))


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_garbage_is_an_error_or_the_body(data: bytes, tail: bytes) -> None:
    """Whatever follows or replaces a stream, the outcome is a body or one of the three errors."""
    for wire in (data + tail, gzip.compress(data) + tail):
        with contextlib.suppress(TooLargeError, UndecodableError, TruncatedError):
            assert len(collect(wire, "gzip", BodyLimit(1000), 7)) <= 1000


def test_members_follow_one_another() -> None:
    """A stream of several members is one body; a stream of countless ones is refused."""
    assert collect(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", BodyLimit(10)) == b"ab"
    with pytest.raises(UndecodableError, match="members"):
        collect(gzip.compress(b"") * (MEMBERS + 1), "gzip", BodyLimit(10))


def test_an_empty_body_is_a_complete_stream() -> None:
    """No bytes at all are an empty body whatever the encoding says."""
    assert collect(b"", "gzip", BodyLimit(0)) == b""
    body = Body("gzip", BodyLimit(0))
    body.feed(b"")
    assert (body.step(), body.finish()) == (False, b"")


def test_the_wire_has_a_bound_of_its_own() -> None:
    """Bytes that decode to nothing do not go on for ever."""
    packer = zlib.compressobj(9, wbits=31)
    body = Body("gzip", BodyLimit(10))
    body.feed(packer.compress(b"") + packer.flush(zlib.Z_SYNC_FLUSH))
    body.step()
    empty_blocks = b"\x00\x00\x00\xff\xff" * 10_000
    with pytest.raises(TooLargeError):  # noqa: PT012 - it is the sum that is refused
        for _ in range(WIRE_ALLOWANCE // len(empty_blocks) + 2):
            body.feed(empty_blocks)
            assert not body.step()
    assert body.size == 0


def test_decoding_goes_in_steps() -> None:
    """A piece that grows is decoded a bounded part at a time, to the last byte."""
    data = bytes(3 * STEP + 5)
    body = Body("gzip", BodyLimit(len(data)))
    body.feed(gzip.compress(data))
    steps = 1
    while body.step():
        assert body.size <= steps * STEP
        steps += 1
    assert steps >= 4
    assert body.finish() == data
    assert body.encoded


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "utf-8", "é"])
def test_encodings_that_were_not_asked_for(encoding: str) -> None:
    """Only gzip and identity are decoded."""
    with pytest.raises(UndecodableError):
        Body(encoding, BodyLimit(1))
