"""The way to one side, step by step as a connection takes it: name, TCP, proxy, TLS, certificates, clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.config.model import ProxySettings, TlsSettings
from relay.core.doctor import Sheet, ahead, apart
from relay.core.egress import is_address
from relay.core.errors import ConfigError, RelayError
from relay.core.expiry import Certificate, ending
from relay.core.servertime import http_date
from relay.daemon.report import moment
from relay.host.certificates import Held, held
from relay.host.clock import Clock
from relay.host.dialing import Address, dial, look_up
from relay.host.http import BodyLimit, HttpClient, HttpFault, HttpRequest, HttpResponse, Target
from relay.host.secrets import SecretReader
from relay.host.targets import make_target
from relay.host.tls import WatchedContext

_STEPS = ("files", "DNS", "TCP", "proxy", "TLS", "certificate", "latency", "clock")
OF_PROXY = frozenset({"proxy", "account"})
_OWN = frozenset({"client", "listener"})
_MOST = 64 * 1024
"""Bytes of the answer that are kept; what is longer is an answer as well."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a side is reached.

    Attributes:
        name: what logs call it.
        whose: for the codes of certificates.
        clocks: the code of clocks that differ.
        fault: the side's error for a fault.
        probe: method and path of a question that needs no account.

    """

    name: str
    url: str
    tls: TlsSettings
    proxy: ProxySettings | None
    timeout: float
    whose: Certificate
    clocks: int
    fault: Callable[[HttpFault], RelayError]
    probe: tuple[str, str]


def steps_of(proxy: ProxySettings | None) -> tuple[str, ...]:
    """The names of the checks that `connect` makes."""
    return tuple(step for step in _STEPS if step != "proxy" or proxy is not None)


async def connect(sheet: Sheet, way: Way, secrets: SecretReader, clock: Clock) -> HttpResponse | None:
    """Go the way and tell of each step; what the side answered, None where a step failed."""
    try:
        target = make_target(way.name, way.url, way.tls, way.proxy, secrets, timeout=way.timeout)
    except ConfigError as error:
        sheet.wrong("files", error.number, error.detail)
        return None
    sheet.ok("files", "certificates and keys can be used")
    if not await _reach(sheet, way, target):
        return None
    response = await _answer(sheet, way, target)
    _certificates(sheet, held(target), clock.wall(), way.whose)
    if response is not None:
        date = http_date(response.header("date"))
        if date is None:
            sheet.skip("clock", "the answer has no Date")
        elif apart(date - clock.wall()):
            sheet.wrong("clock", way.clocks, ahead(date - clock.wall()))
        else:
            sheet.ok("clock", ahead(date - clock.wall()))
    return response


async def _reach(sheet: Sheet, way: Way, target: Target) -> bool:
    """Name and TCP, of the proxy where there is one."""
    host, port = _endpoint(way.proxy.url if way.proxy is not None else way.url)
    whose = "the proxy " if way.proxy is not None else ""
    try:
        async with asyncio.timeout(target.connect_timeout):
            addresses = await look_up(host, port)
    except (OSError, TimeoutError) as error:
        _unreachable(sheet, way, "DNS", f"{whose}{host}", error)
        return False
    told = ", ".join(dict.fromkeys(str(where[0]) for _, where in addresses))
    sheet.ok("DNS", f"{whose}{host}" if is_address(host) else f"{whose}{host}: {told}")
    started = asyncio.get_running_loop().time()
    try:
        await _dial(addresses, target.connect_timeout)
    except (OSError, TimeoutError) as error:
        _unreachable(sheet, way, "TCP", f"{whose}{host} port {port}", error)
        return False
    spent = asyncio.get_running_loop().time() - started
    sheet.ok("TCP", f"{whose}{host} port {port} in {spent * 1000:.0f} ms")
    return True


async def _dial(addresses: list[Address], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        connected = await dial(addresses)
    connected.close()


def _unreachable(sheet: Sheet, way: Way, name: str, what: str, error: OSError | TimeoutError) -> None:
    # TimeoutError is an OSError, and one without words.
    why = getattr(error, "strerror", None) or ("no answer in time" if isinstance(error, TimeoutError) else str(error))
    sheet.wrong(name, way.fault(HttpFault("connect", "", maybe_sent=False)).number, f"{what}: {why}")


async def _answer(sheet: Sheet, way: Way, target: Target) -> HttpResponse | None:
    """Proxy, TLS and the first answer."""
    client = HttpClient(target, keep_alive=False, cookies=False)
    method, path = way.probe
    request = HttpRequest(method, target.origin + path, timeout=way.timeout, limit=BodyLimit(_MOST))
    started = asyncio.get_running_loop().time()
    try:
        response = await client.send(request)
    except HttpFault as fault:
        if fault.status is None:
            _failed(sheet, way, fault, at_proxy=_at_proxy(fault, target))
            return None
        # Of no use is only the body: the way is good.
        elapsed = asyncio.get_running_loop().time() - started
        response = HttpResponse(fault.status, fault.headers, b"", elapsed)
    finally:
        await client.aclose()
    if way.proxy is not None:
        sheet.ok("proxy", f"{way.proxy.url} lets the relay through")
    pinned = f", one of {len(way.tls.pins)} pins matches" if way.tls.pins else ""
    trust = str(way.tls.ca_file or "the system's trust store")
    sheet.ok("TLS", f"trusted by {trust}{pinned}")
    sheet.ok("latency", f"answered in {response.elapsed * 1000:.0f} ms, with the connection")
    return response


def _at_proxy(fault: HttpFault, target: Target) -> bool:
    """Whether it is the proxy that did not let the relay through."""
    if target.proxy is None:
        return False
    unseen = isinstance(target.proxy.context, WatchedContext) and not target.proxy.context.shown
    return fault.kind in OF_PROXY or unseen or (fault.kind == "timeout" and "proxy" in fault.detail)


def _failed(sheet: Sheet, way: Way, fault: HttpFault, *, at_proxy: bool) -> None:
    number = way.fault(fault).number
    if at_proxy:
        sheet.wrong("proxy", number, fault.detail, result="error")
        return
    if way.proxy is not None:
        sheet.ok("proxy", f"{way.proxy.url} lets the relay through")
    if fault.kind != "tls" and fault.maybe_sent:
        sheet.ok("TLS", "the connection is encrypted")
        sheet.wrong("latency", number, fault.detail, result="error")
        return
    sheet.wrong("TLS", number, fault.detail, result="error")


def _certificates(sheet: Sheet, certificates: Iterable[Held], now: float, whose: Certificate) -> None:
    for one in certificates:
        judge_end(sheet, "certificate", one, now, whose)


def judge_end(sheet: Sheet, name: str, one: Held, now: float, whose: Certificate) -> None:
    """Tell of a certificate's end."""
    number = ending("own" if one.certificate in _OWN else whose, one.ends - now)
    told = f"the {one.certificate}'s, until {moment(one.ends)}"
    if number is None:
        sheet.ok(name, told)
    else:
        sheet.wrong(name, number, told)


def _endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
