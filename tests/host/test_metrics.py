"""Figures, and the small server that shows them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from relay.host.metrics import Metrics, MetricsServer


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    """A server of one counter, quick to give up."""
    metrics = Metrics()
    metrics.counter("polls", "Polls of the queue.").inc(3)
    made = MetricsServer(metrics, seconds=0.5, connections=2)
    yield made
    await made.aclose()


async def ask(port: int, request: bytes) -> bytes:
    """The whole answer to raw bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await rest(reader)
    writer.close()
    return answer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, whether it is closed or reset."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            got += piece
    return got


async def running(server: MetricsServer, number: int) -> None:
    """Wait until the server serves so many connections."""
    async with asyncio.timeout(10):
        while len(server._running) != number:  # noqa: ASYNC110  # the server has no reason to tell anybody
            await asyncio.sleep(0)


def test_names_have_the_prefix() -> None:
    """Counters, gauges, histograms and the process's figures carry the relay's prefix; there are no other series."""
    metrics = Metrics()
    metrics.counter("calls", "Calls.", ["appliance"]).labels("default").inc()
    metrics.gauge("jobs", "Jobs.").set(7)
    metrics.histogram("seconds", "Seconds.", buckets=(1, 2)).observe(1.5)
    page = metrics.page().decode()
    assert 'bseries_relay_calls_total{appliance="default"} 1.0' in page
    assert "bseries_relay_jobs 7.0" in page
    assert 'bseries_relay_seconds_bucket{le="2.0"} 1.0' in page
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert all(line.startswith("bseries_relay_") for line in lines)
    assert "_created" not in page


def test_the_process_tells_of_itself() -> None:
    """Memory, processor time and descriptors are there and not nothing."""
    values = dict(line.split(" ") for line in Metrics().page().decode().splitlines() if not line.startswith("#"))
    assert float(values["bseries_relay_process_resident_memory_bytes"]) > 10_000_000
    assert float(values["bseries_relay_process_cpu_seconds_total"]) > 0
    assert float(values["bseries_relay_process_open_fds"]) > 2


def test_without_proc_the_page_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot see itself in /proc tells what it can."""

    def refuse(*_arguments: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("relay.host.metrics.Path.read_text", refuse)
    monkeypatch.setattr("relay.host.metrics.os.listdir", refuse)
    page = Metrics().page().decode()
    assert "bseries_relay_process_cpu_seconds_total" in page
    assert "memory" not in page


def test_two_registries_do_not_meet() -> None:
    """Each `Metrics` is by itself: nothing is registered globally, so that a name can be declared again."""
    first, second = Metrics(), Metrics()
    first.gauge("jobs", "Jobs.").set(1)
    second.gauge("jobs", "Jobs.").set(2)
    assert b"bseries_relay_jobs 1.0" in first.page()
    assert b"bseries_relay_jobs 2.0" in second.page()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200 OK"),
        (b"GET /metrics?name=x HTTP/1.0", b"200 OK"),
        (b"GET / HTTP/1.1", b"404 Not Found"),
        (b"GET /metrics/../x HTTP/1.1", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET /metrics HTTP/2", b"400 Bad Request"),
        (b"GET  /metrics HTTP/1.1", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00", b"400 Bad Request"),
    ],
)
async def test_only_get_metrics_is_served(server: MetricsServer, request_line: bytes, status: bytes) -> None:
    """GET /metrics answers the page; anything else is refused by the status that fits."""
    port = await server.start("127.0.0.1", 0)
    answer = await ask(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert (b"bseries_relay_polls_total 3.0" in answer) == (status == b"200 OK")
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"Content-Length: %d" % len(body) in head


async def test_a_large_header_is_refused(server: MetricsServer) -> None:
    """A header beyond 8 KiB is answered 431 and not kept."""
    port = await server.start("127.0.0.1", 0)
    answer = await ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 8_192)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_slow_client_is_cut(server: MetricsServer) -> None:
    """A client that never ends its header loses its connection after the time limit, drip or not."""
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\n")
    async with asyncio.timeout(10):
        assert await rest(reader) == b""
    writer.close()


async def test_a_client_that_leaves_is_no_error(server: MetricsServer) -> None:
    """A connection that ends before its header ends is forgotten, and the server serves on."""
    port = await server.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()
    assert b"200 OK" in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_connections_are_counted(server: MetricsServer) -> None:
    """Beyond the most connections a further one is closed at once; when one leaves there is room again."""
    port = await server.start("127.0.0.1", 0)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    await running(server, 2)
    assert await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    for _, writer in held:
        writer.close()
    await running(server, 0)
    assert b"200 OK" in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_close_cuts_what_is_under_way(server: MetricsServer) -> None:
    """Closing waits for nobody, ends open connections, and may be repeated."""
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await running(server, 1)
    await server.aclose()
    assert await rest(reader) == b""
    writer.close()
    await server.aclose()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_address_is_an_error(server: MetricsServer) -> None:
    """An address that cannot be bound raises, so that the configuration can be told wrong."""
    port = await server.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="address already in use"):
        await MetricsServer(Metrics()).start("127.0.0.1", port)
