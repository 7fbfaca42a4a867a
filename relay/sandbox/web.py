"""Requests and answers as values, the same for both stand-ins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

JSON_TYPE = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a body that was too large to be kept: its bytes were counted and hashed (SHA-256, hex)."""

    size: int
    digest: str


@dataclass(slots=True)
class Request:
    """A request as it came. `path` is decoded, `query` are the decoded pairs, header names are lower case.

    `lanes` say what the request is about in the stand-in's own words (`poll`, `claim`, `push`, ...); `quirks` are the
    faults that the handler itself plays, with their `count`. `sub` marks a part of a batch, which has an `id` and may
    ask for a `bare` answer; `inner` are the parts of a batch once they were read. `certificate` is the SHA-256 of the
    client's certificate, hex, "" for none. `beyond` tells of a body that is too large to be kept; `body` is then empty.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    sub: bool = False
    lanes: frozenset[str] = frozenset()
    quirks: dict[str, int] = field(default_factory=dict)
    id: str = ""
    bare: bool = False
    inner: list[Request] | None = None
    certificate: str = ""
    beyond: Measured | None = None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.beyond is None else self.beyond.size

    @property
    def parameters(self) -> dict[str, str]:
        """The query's pairs; of equal names the last one counts."""
        return dict(self.query)

    def header(self, name: str) -> str:
        """A header's value, `""` when it is absent; `name` in lower case."""
        return self.headers.get(name, "")

    @property
    def media_type(self) -> str:
        """The body's content type without its parameters, lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def form(self) -> dict[str, str]:
        """The body as form fields; of equal names the last one counts."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """An answer. A `body` that is not bytes is streamed piece by piece; `size`: its bytes, told in the headers.

    `cut`: the connection ends in the middle of the body. `drip`: seconds between two of twenty pieces of it.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""
    cut: bool = False
    drip: float = 0.0
    size: int | None = None

    def whole(self) -> bytes:
        """The body in one piece; a streamed one is drained by this."""
        if not isinstance(self.body, bytes):
            self.body = b"".join(self.body)
        return self.body


class Broken(Exception):  # noqa: N818 - it is an event on the wire, not an error of the program
    """The connection is to be broken instead of answered.

    `hold` keeps it open, silent, until the client goes.
    """

    def __init__(self, *, hold: bool = False) -> None:
        super().__init__()
        self.hold = hold


def split_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The decoded path and the query's pairs of a request target such as `/a%20b?x=1`."""
    path, _, query = target.partition("?")
    return unquote(path), tuple(parse_qsl(query, keep_blank_values=True)) if query else ()


def json_response(status: int, value: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:  # noqa: ANN401 - JSON
    """An answer that holds `value` as JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(status, [("Content-Type", JSON_TYPE), *headers], body)


def text_response(status: int, text: str, media_type: str = "text/plain; charset=utf-8") -> Response:
    """An answer that holds text."""
    return Response(status, [("Content-Type", media_type)], text.encode())
