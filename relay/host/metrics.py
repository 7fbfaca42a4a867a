"""Figures for Prometheus: one registry with our prefix, and a small server that shows it.

Why a server of our own and not the library's: that one is a thread for each connection, without a limit of size, time
or number, in a process that holds credentials. This one answers `GET /metrics` and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX: Final = "bseries_relay"
_LONGEST_HEADER: Final = 8_192  # bytes; Prometheus sends some 300
_SECONDS: Final = 5.0  # for a whole exchange, so that a drip of bytes holds no place
_MOST_CONNECTIONS: Final = 8  # one or two scrapers, and room for a person

# A second series for each counter, telling when it began: doubles the page, and nobody reads it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one process. Names are given without the prefix `bseries_relay_`."""

    __slots__ = ("registry",)

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(_Process())

    def counter(self, name: str, help_: str, labels: Sequence[str] = ()) -> Counter:
        """Declare what only grows. `_total` is added to its name."""
        return Counter(name, help_, labels, namespace=PREFIX, registry=self.registry)

    def gauge(self, name: str, help_: str, labels: Sequence[str] = ()) -> Gauge:
        """Declare what goes up and down."""
        return Gauge(name, help_, labels, namespace=PREFIX, registry=self.registry)

    def histogram(
        self, name: str, help_: str, labels: Sequence[str] = (), buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        """Declare a distribution, by default of seconds between 5 ms and 10 s."""
        return Histogram(name, help_, labels, namespace=PREFIX, registry=self.registry, buckets=buckets)

    def page(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)


class _Process(Collector):
    """Memory, time and descriptors of this process.

    Why not the library's collector: it shows nothing where a hardened service cannot see when the machine was booted.
    """

    def collect(self) -> Iterator[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily(
            f"{PREFIX}_process_cpu_seconds", "Processor time used.", value=usage.ru_utime + usage.ru_stime
        )
        with contextlib.suppress(OSError):
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            yield GaugeMetricFamily(
                f"{PREFIX}_process_resident_memory_bytes", "Memory in use.", value=pages * resource.getpagesize()
            )
        with contextlib.suppress(OSError):
            held = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # no path is wanted, only their number
            yield GaugeMetricFamily(f"{PREFIX}_process_open_fds", "File descriptors in use.", value=held)


async def _nothing() -> None:
    pass


class MetricsServer:
    """Serves a `Metrics` page over plain HTTP/1.1, one request a connection.

    `before` is awaited before each page, within the time of the exchange; it must not raise.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        before: Callable[[], Awaitable[None]] = _nothing,
        seconds: float = _SECONDS,
        connections: int = _MOST_CONNECTIONS,
    ) -> None:
        self._metrics = metrics
        self._before = before
        self._seconds = seconds
        self._most = connections
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; returns the port, which the system chooses when `port` is 0.

        Raises:
            OSError: the address cannot be bound.

        """
        self._server = await asyncio.start_server(self._accept, host, port, limit=_LONGEST_HEADER)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def aclose(self) -> None:
        """Stop serving; connections under way are cut."""
        if self._server is None:
            return
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._running) >= self._most:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="metrics")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # whoever asked is slow or gone, which is nobody's concern here
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            header = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response("431 Request Header Fields Too Large", b"the header is too large\n")
        match header.split(b"\r\n", 1)[0].split(b" "):
            case [b"GET", path, b"HTTP/1.0" | b"HTTP/1.1"] if path.split(b"?", 1)[0] == b"/metrics":
                await self._before()
                return _response("200 OK", self._metrics.page(), "text/plain; version=0.0.4; charset=utf-8")
            case [b"GET", _, b"HTTP/1.0" | b"HTTP/1.1"]:
                return _response("404 Not Found", b"the figures are at /metrics\n")
            case [_, _, b"HTTP/1.0" | b"HTTP/1.1"]:
                return _response("405 Method Not Allowed", b"only GET is served\n", extra="Allow: GET\r\n")
            case _:
                return _response("400 Bad Request", b"this is not HTTP/1.1\n")


def _response(status: str, body: bytes, kind: str = "text/plain; charset=utf-8", extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + body
