"""Posts what the appliance sends by itself: one request on a connection of its own, and the status of its answer.

Why not an HTTP library: the stand-ins use none of what the relay uses, and this is all of it that is needed.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

_LARGEST_ANSWER = 64 * 1024
FORM_TYPE = "application/x-www-form-urlencoded"


class NoAnswerError(Exception):
    """No HTTP answer came: the connection failed, broke, or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach somebody.

    Attributes:
        url: https, or http in a test of what must not be.
        context: of TLS; None for http.
        source: the address of this machine to connect from, such as `127.0.0.2`; "": any.
        timeout: seconds for the whole exchange.

    """

    url: str
    context: ssl.SSLContext | None
    source: str = ""
    timeout: float = 30.0


async def post(way: Way, fields: dict[str, str]) -> tuple[int, bytes]:
    """Post a form; the answer's status and body.

    Raises:
        NoAnswerError: there is none.

    """
    try:
        async with asyncio.timeout(way.timeout):
            return await _exchange(way, urlencode(fields).encode())
    except (OSError, EOFError, ValueError) as problem:
        raise NoAnswerError(f"{type(problem).__name__}: {problem}") from problem


async def _exchange(way: Way, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(way.url)
    host, port = parts.hostname or "", parts.port or (443 if way.context else 80)
    local = (way.source, 0) if way.source else None
    reader, writer = await asyncio.open_connection(host, port, ssl=way.context, local_addr=local)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: BeyondTrust\r\nAccept: */*\r\n"
        f"Content-Type: {FORM_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        while (await reader.readline()).strip():
            pass
        return status, await reader.read(_LARGEST_ANSWER)
    except IndexError:
        raise EOFError("no status line") from None
    finally:
        writer.transport.abort()
