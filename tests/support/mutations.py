"""Hostile input made from real examples: cut, repeated, spliced, with what parsers stumble over put in.

Why from examples: bytes by chance are refused in the first line of a parser; what lies behind is reached by what is
almost right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

LONGEST = 300_000
"""Bytes of one input: beyond every small bound, and quick."""

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "250"))
"""Inputs for each parser; `scripts/fuzz` sets it."""

TOKENS: tuple[bytes, ...] = (
    *(b"", b"\0", b"\x01", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xa8"),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\t",
        b" ",
        b"\x85",
        b"\\",
        b"/",
        b"//",
        b"..",
        b"%",
        b"%2e",
        b"%00",
        b"%zz",
    ),
    *(b"0", b"-1", b"1e400", b"NaN", b"Infinity", b"1" * 30, b"9" * 5000, b"0x10", "١٢".encode()),
    *(b'"', b"'", b"`", b"&", b";", b"=", b"^", b"#", b"?", b"@", b":", b"[", b"]", b"{", b"}", b"<", b">", b",", b"|"),
    *(b"null", b"true", b'"\\ud800"', b"[[[[", b"{}", b'{"a":', b"[" * 5000, b'{"a":' * 3000),
    *(
        b"<!DOCTYPE a>",
        b'<!ENTITY e "x">',
        b"&e;",
        b"&#0;",
        b"&#xD800;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<?x?>",
    ),
    *(b"<a>", b"</a>", b"<a " + b"".join(b"a%d='' " % number for number in range(100)) + b">", b"<a>" * 300, b"enc:"),
)


@st.composite
def mutated(draw: st.DrawFn, *seeds: bytes) -> bytes:
    """One of the examples, changed a few times; sometimes not at all, sometimes bytes by chance."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=200))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 30)))
        match draw(st.sampled_from(["cut", "put", "replace", "repeat", "flip", "splice", "end"])):
            case "cut":
                data = data[:start] + data[end:]
            case "put":
                data = data[:start] + draw(st.sampled_from(TOKENS)) + data[start:]
            case "replace":
                data = data[:start] + draw(st.sampled_from(TOKENS)) + data[end:]
            case "repeat":
                data = data[:start] + data[start:end] * draw(st.sampled_from([2, 3, 70, 5000])) + data[end:]
            case "flip":
                data = data[:start] + bytes([draw(st.integers(0, 255))]) + data[start + 1 :]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data = data[:start] + other[draw(st.integers(0, len(other))) :]
            case _:
                data = data[:start]
        data = data[:LONGEST]
    return data


def texts(*seeds: str) -> st.SearchStrategy[str]:
    """As `mutated`, as text: some of what is not UTF-8 becomes lone surrogates, as JSON can bring them."""
    raw = mutated(*(seed.encode() for seed in seeds))
    return st.one_of(
        raw.map(lambda data: data.decode("utf-8", "replace")),
        raw.map(lambda data: data.decode("utf-8", "surrogateescape")),
        raw.map(lambda data: data.decode("latin-1")),
    )


HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, float("inf"), float("nan"), 2**70, 10**400),
    *("", "0", "9" * 5000, "\ud800", "\0", "é" * 300, "a" * 70_000, "true", "enc:x", "<a>", "^"),
    *([], {}, [[]], [{}], [None] * 3, {"value": []}, {"value": {"value": 1}}, {"": ""}),
)


def _deep(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def json_values(draw: st.DrawFn, *seeds: Any) -> Any:
    """One of the examples with some of its values replaced, left out, doubled or put under another name."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        value = _changed(draw, value)
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        rest = {key: one for key, one in value.items() if key != name}
        match draw(st.sampled_from(["in", "in", "in", "out", "rename"])):
            case "in":
                return {**rest, name: _changed(draw, value[name])}
            case "rename":
                return {**rest, draw(st.sampled_from(["", "a", "value", "error", "result", "\ud800"])): value[name]}
            case _:
                return rest
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [
            *value[:place],
            *[_changed(draw, value[place])] * draw(st.sampled_from([0, 1, 1, 1, 2])),
            *value[place + 1 :],
        ]
    return draw(st.sampled_from([*HOSTILE, _deep(20), _deep(60)]))


def json_texts(*seeds: Any) -> st.SearchStrategy[bytes]:
    """JSON of almost the right shape, or almost JSON."""
    return st.one_of(
        json_values(*seeds).map(lambda value: json.dumps(value).encode()),
        mutated(*(json.dumps(seed).encode() for seed in seeds)),
    )


def one_of_each(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments, each from its strategy."""
    return st.fixed_dictionaries(strategies)


def pick(*values: Any) -> st.SearchStrategy[Any]:
    """One of these."""
    return st.sampled_from(values)


def rows_of(*columns: str, seeds: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    """A table's row: some columns, each with one of the examples changed."""
    return st.dictionaries(st.sampled_from(columns), texts(*seeds), max_size=len(columns))
