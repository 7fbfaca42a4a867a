"""Plays faults around the handling of one request."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

from relay.sandbox.faults import QUIRKS, Fault
from relay.sandbox.web import Broken, Request, Response, json_response, text_response

Handle = Callable[[Request], Awaitable[Response]]

HIBERNATION_PAGE = (
    "<html><head><title>Instance Hibernating page</title></head>"
    "<body>Your instance is hibernating. Sign in to the developer site to wake it.</body></html>"
)
CANCELLED = (
    b'"error":{"message":"Transaction cancelled: maximum execution time exceeded","detail":""},"status":"failure"}'
)


class Behaviour:
    """Handles requests, and does to them what the faults say. Keeps the requests that run late."""

    def __init__(self) -> None:
        self._late: set[asyncio.Task[None]] = set()

    async def run(self, faults: Sequence[Fault], request: Request, handle: Handle) -> Response:
        """Handle one request under these faults.

        Raises:
            Broken: the connection shall break.

        """
        request.quirks = {fault.action: fault.count for fault in faults if fault.action in QUIRKS}
        for fault in faults:
            answer = await self._before(fault, request, handle)
            if answer is not None:
                return answer
        response = await handle(request)
        for fault in faults:
            response = await _after(fault, response)
        return response

    async def settle(self) -> None:
        """Wait until the requests that run late have taken effect."""
        await asyncio.gather(*self._late)

    async def close(self) -> None:
        """Forget the requests that run late."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _before(self, fault: Fault, request: Request, handle: Handle) -> Response | None:
        match fault.action:
            case "latency":
                await asyncio.sleep(fault.seconds)
            case "hang":
                raise Broken(hold=True)
            case "reset":
                raise Broken
            case "status":
                return _refusal(fault)
            case "page":
                return text_response(200, HIBERNATION_PAGE, "text/html;charset=UTF-8")
            case "late":
                task = asyncio.create_task(self._later(fault.seconds, request, handle), name="late request")
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                raise Broken
            case _:
                pass
        return None

    async def _later(self, seconds: float, request: Request, handle: Handle) -> None:
        await asyncio.sleep(seconds)
        await handle(request)


async def _after(fault: Fault, response: Response) -> Response:
    match fault.action:
        case "stall":
            await asyncio.sleep(fault.seconds)
        case "hang after":
            raise Broken(hold=True)
        case "reset after":
            raise Broken
        case "status after":
            return _refusal(fault)
        case "cut":
            response.cut = True
        case "drip":
            response.drip = fault.seconds
        case action:
            change = _CHANGES.get(action)
            if change is not None:
                change(fault, response)
    return response


def _fail(_: Fault, response: Response) -> None:
    body = response.whole()
    response.body = (body[:-1] + b"," if body.startswith(b"{") else b"{") + CANCELLED


def _truncate(_: Fault, response: Response) -> None:
    body = response.whole()
    response.body = body[: len(body) // 2]


def _spoil(_: Fault, response: Response) -> None:
    response.headers.append(("Content-Encoding", "gzip"))
    response.body = b"\x1f\x8b\x08\x00" + response.whole()[::-1]


def _swell(fault: Fault, response: Response) -> None:
    response.headers.append(("Content-Encoding", "gzip"))
    response.body, response.size = _bomb(fault.size), None


def _fill(fault: Fault, response: Response) -> None:
    response.body, response.size = _zeros(fault.size), None


def _retype(fault: Fault, response: Response) -> None:
    response.headers = [pair for pair in response.headers if pair[0].lower() != "content-type"]
    response.headers += list(fault.headers.items())


_CHANGES = {
    "failure": _fail,
    "truncate": _truncate,
    "bad gzip": _spoil,
    "gzip bomb": _swell,
    "large body": _fill,
    "content type": _retype,
}


def _refusal(fault: Fault) -> Response:
    headers = list(fault.headers.items())
    if fault.body is not None:
        return Response(fault.status, headers, fault.body.encode())
    error = {"message": "Misbehaving as told", "detail": f"status {fault.status}"}
    return json_response(fault.status, {"error": error, "status": "failure"}, headers)


def _zeros(size: int) -> Iterator[bytes]:
    piece = bytes(1 << 16)
    for start in range(0, size, len(piece)):
        yield piece[: size - start]


def _bomb(size: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 16)
    for _ in range(size // len(zeros) + 1):
        piece = packer.compress(zeros)
        if piece:
            yield piece
    yield packer.flush()
