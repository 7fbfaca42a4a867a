"""The firewall table of a configuration: every connection that the relay begins or accepts, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from relay.config.model import ListenerSettings, MetricsSettings, ProxySettings, Settings
from relay.config.network import Network
from relay.core.egress import ANY, LOCALHOST, Flow, is_address

HERE = "this machine"
_PORTS = {"http": 80, "https": 443}
_DNS_PORT = 53


def flows(settings: Settings, resolvers: tuple[str, ...], scrapers: tuple[str, ...] = ()) -> tuple[Flow, ...]:
    """The rows of the table, in the order in which an administrator thinks of them.

    Args:
        settings: the configuration.
        resolvers: the addresses of this machine's name servers.
        scrapers: from which networks the metrics are asked, which no configuration tells.

    """
    outbound = [
        _outbound(
            "ServiceNow",
            settings.servicenow.url,
            settings.servicenow.proxy,
            "no work comes and no answer leaves; nothing is lost",
            2001,
        ),
        *(
            _outbound(
                f"appliance {name}",
                one.url,
                one.proxy,
                "its calls are answered with an error; other work goes on",
                3001,
            )
            for name, one in settings.appliances.items()
            if one.enabled
        ),
    ]
    by_name = [flow.to for flow in outbound if not is_address(flow.to)]
    names = tuple(_names(resolvers)) if by_name else ()
    listener = tuple(_listener(settings, settings.listener)) if settings.listener else ()
    metrics = tuple(_metrics(settings.metrics, scrapers)) if settings.metrics else ()
    return (*outbound, *names, *listener, *metrics)


def _outbound(side: str, url: str, proxy: ProxySettings | None, blocked: str, code: int) -> Flow:
    host, port = _place(url)
    if proxy is None:
        return Flow("out", HERE, host, port, "tcp", "HTTPS", side, f"{blocked} (BSR-{code})", (host,), code)
    via, via_port = _place(proxy.url)
    carries = f"{'HTTPS' if proxy.url.startswith('https:') else 'HTTP'} CONNECT {_written(host)}:{port}, HTTPS within"
    return Flow("out", HERE, via, via_port, "tcp", carries, f"proxy to {side}", f"{blocked} (BSR-{code})", (via,), code)


def _names(resolvers: tuple[str, ...]) -> Iterator[Flow]:
    """DNS, which moves from UDP to TCP when an answer is long."""
    protocols: tuple[Literal["udp", "tcp"], ...] = ("udp", "tcp")
    for resolver in resolvers:
        for protocol in protocols:
            why, blocked = "name server of this machine", "no name is found (BSR-2001, BSR-3001)"
            yield Flow("out", HERE, resolver, _DNS_PORT, protocol, "DNS", why, blocked, (resolver,))


def _listener(settings: Settings, listener: ListenerSettings) -> Iterator[Flow]:
    """One row for each network that events may come from."""
    enabled = [name for name, one in settings.appliances.items() if one.enabled]
    sources: dict[str, str] = {}
    for name in enabled:
        why = f"events and requests for approval of appliance {name}"
        networks = settings.accept_from(name)
        for network in networks:
            sources.setdefault(_network(network), why)
        if not networks:
            sources.setdefault(ANY, f"{why}, known by event_token")
    for network in listener.proxy_protocol_from:
        sources.setdefault(_network(network), "load balancers before the listener")
    for source, why in sources.items():
        yield Flow(
            "in",
            source,
            listener.listen.host,
            listener.listen.port,
            "tcp",
            "HTTPS",
            why,
            "the appliance's events and requests for approval do not arrive",
            (source,),
        )


def _metrics(metrics: MetricsSettings, scrapers: tuple[str, ...]) -> Iterator[Flow]:
    host = metrics.listen.host
    local = host == LOCALHOST or (is_address(host) and ip_address(host).is_loopback)
    for peer in (LOCALHOST,) if local else scrapers or (ANY,):
        yield Flow(
            "in",
            HERE if local else peer,
            host,
            metrics.listen.port,
            "tcp",
            "HTTP",
            "metrics for Prometheus",
            "no figures in Prometheus; work goes on",
            (peer,),
        )


def _place(url: str) -> tuple[str, int]:
    """Host, an IPv6 address without brackets, and port of a URL that the configuration has judged."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _network(network: Network) -> str:
    """A network; one of a single host as its address."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
