"""URLs are read strictly: one meaning or none."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.calls import HOSTILE_PATHS

from relay.core.refusal import Refusal
from relay.core.urls import (
    MAX_PAIRS,
    MAX_TEXT,
    MAX_URL,
    decode_segment,
    encode_pairs,
    encode_segment,
    read_authority,
    read_pairs,
    read_segments,
    split,
)

HOST = "https://access.example.com"


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_hostile_paths_are_refused(path: str) -> None:
    """A path that some server could read as another one is refused before anything is matched."""
    with pytest.raises(Refusal) as caught:
        split(HOST + path)
    assert caught.value.number == 4003
    with pytest.raises(Refusal):
        read_segments(path)


@pytest.mark.parametrize(
    "url",
    [
        "http://access.example.com/api/command",
        "//access.example.com/api/command",
        "/api/command",
        "",
        "https:/access.example.com/a",
        "https://",
        "https:///api/command",
        "https://user@access.example.com/a",
        "https://user:pw@access.example.com/a",
        "https://access.example.com@evil.example.com/a",
        "https://access.example.com:443@evil/a",
        "https://access.example.com:0443/a",
        "https://access.example.com:0/a",
        "https://access.example.com:99999/a",
        "https://access.example.com:65536/a",
        "https://access.example.com:/a",
        "https://access.example.com:44x/a",
        "https://access.example.com./a",
        "https://.example.com/a",
        "https://access..example.com/a",
        "https://access.example.com#x/a",
        "https://access.example.com/a#x",
        "https://access.example.com/a?b=c#x",
        "https://[::1/a",
        "https://::1/a",
        "https://[fe80::1%25eth0]/a",
        "https://access%2eexample.com/a",
        "https://\u24d0ccess.example.com/a",
        "https://acce\u017fs.example.com/a",
        "https://access.example.com\\@evil/a",
        "https://access.example.com\\evil/a",
        " https://access.example.com/a",
        "https://access.example.com/a ",
        "https://access.example.com/a\n",
        "ftp://access.example.com/a",
        "javascript://access.example.com/a",
        "https://access.example.com?a=b",
        "https://access.example.com",
        "https://-x/a",
        "https://" + "a" * 300 + "/a",
        HOST + "/" + "a" * MAX_URL,
    ],
)
def test_hostile_urls_are_refused(url: str) -> None:
    """Another scheme, user information, fragments, odd hosts and ports, blanks and look-alikes are refused."""
    with pytest.raises(Refusal) as caught:
        split(url)
    assert caught.value.number == 4003


def refusal_of(call: Callable[[str], object], text: str) -> Refusal | None:
    try:
        call(text)
    except Refusal as refusal:
        return refusal
    return None


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    """Any text is taken apart or refused, whether it stands alone or where a path, query or authority belongs."""
    for call in (split, read_authority, read_segments, read_pairs, lambda text: split(HOST + text)):
        refusal = refusal_of(call, text)
        assert refusal is None or (refusal.detail.isprintable() and len(refusal.detail) < 200)


def test_a_plain_url() -> None:
    """Host and scheme mean the same in any case; the rest is kept as it is written."""
    url = split("HTTPS://Access.Example.COM:8443/api/Command.ns?a=b?&c=%41")
    assert url.origin == ("access.example.com", 8443)
    assert url.segments == ("api", "Command.ns")
    assert url.query == "a=b?&c=%41"
    assert split("https://[2001:DB8::1]/x").origin == ("[2001:db8::1]", 443)
    assert split("https://10.0.0.1/x?").query == ""
    assert read_authority("host", 8443) == ("host", 8443)


def test_escapes_in_a_path_are_decoded_once() -> None:
    """An argument in a path is decoded once."""
    assert read_segments("/x/a%20b%40c") == ("x", "a%20b%40c")
    assert decode_segment("a%20b%40c") == "a b@c"


UTF8 = st.characters(exclude_categories=["Cs"])


@given(st.lists(st.tuples(st.text(UTF8, min_size=1, max_size=8), st.text(UTF8, max_size=20)), max_size=8))
def test_pairs_come_back(pairs: list[tuple[str, str]]) -> None:
    """Pairs that the relay encodes are read back unchanged, by its own reader and by Python's."""
    text = encode_pairs(pairs)
    assert read_pairs(text) == tuple(pairs)
    assert parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)) == pairs


@given(st.text(UTF8, max_size=20))
def test_segments_come_back(text: str) -> None:
    """A segment that the relay encodes is plain, and decodes to the text."""
    assert unquote(encode_segment(text), errors="strict") == text
    assert "/" not in encode_segment(text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "=b",
        "a=b&",
        "&a=b",
        "a=b&&c=d",
        "a=b;c=d;",
        "a=%",
        "a=%zz",
        "a=%c0%ae",
        "a=%ff",
        "a=b c",
        "a=é",
        "a={x}",
        "a=b=c",
        "a[]=b",
        "a=b\r\n",
    ],
)
def test_bad_pairs_are_refused(text: str) -> None:
    """Pairs without name or sign, bytes that are not UTF-8 and characters that must be encoded are refused."""
    with pytest.raises(Refusal) as caught:
        read_pairs(text)
    assert caught.value.number == 4004


def test_pairs_are_decoded_once() -> None:
    """Escapes are decoded once, a plus is a space, and what comes out is text and nothing more."""
    assert read_pairs("a=b+c%2B%2541%26d") == (("a", "b c+%41&d"),)
    assert read_pairs("") == ()
    assert read_pairs("a=") == (("a", ""),)
    assert read_pairs(f"a={quote('Jörg ✓')}") == (("a", "Jörg ✓"),)


def test_bounds() -> None:
    """A query has bounds in characters and in pairs."""
    with pytest.raises(Refusal, match="characters"):
        read_pairs("a=" + "b" * MAX_TEXT)
    with pytest.raises(Refusal, match="pairs"):
        read_pairs("&".join(f"a{index}=b" for index in range(MAX_PAIRS + 1)))


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@h/a", "http://u:hunter2@h/a", "u:hunter2@h", "https://a@u:hunter2@h/"]
)
def test_a_refusal_does_not_repeat_a_password(url: str) -> None:
    """A URL with user and password is refused, and the refusal goes back without them."""
    with pytest.raises(Refusal) as caught:
        split(url)
    assert "hunter2" not in caught.value.detail
    assert "...@h" in caught.value.detail
