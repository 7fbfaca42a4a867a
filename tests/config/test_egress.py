"""The firewall table of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, loaded

from relay.config.egress import flows
from relay.core.egress import Flow

DNS = ("10.0.0.53",)
LISTENER = """
listener:
  listen: "0.0.0.0:8443"
  tls: {certificate: /etc/listener.pem, key: {credential: key}}
"""


def table(folder: Path, drop_in: str = "", scrapers: tuple[str, ...] = ()) -> tuple[Flow, ...]:
    """The rows of the smallest configuration with a drop-in."""
    return flows(loaded(folder, SMALLEST, more=drop_in).settings, DNS, scrapers)


def ends(rows: tuple[Flow, ...]) -> list[tuple[str, str, int, str]]:
    """Where each row leads."""
    return [(row.direction, row.to, row.port, row.protocol) for row in rows]


def test_the_smallest_configuration_needs_both_sides_and_names(tmp_path: Path) -> None:
    """ServiceNow, the appliance and the name server are all; each says what it is for and what stops without it."""
    rows = table(tmp_path)
    assert ends(rows) == [
        ("out", "example.service-now.com", 443, "tcp"),
        ("out", "access.example.com", 443, "tcp"),
        ("out", "10.0.0.53", 53, "udp"),
        ("out", "10.0.0.53", 53, "tcp"),
    ]
    assert [(row.why, row.code) for row in rows[:2]] == [("ServiceNow", 2001), ("appliance default", 3001)]
    assert all(row.blocked and row.source == "this machine" for row in rows)


@pytest.mark.parametrize(
    ("proxy", "place", "carries"),
    [
        (
            "http://proxy.example:3128",
            ("proxy.example", 3128),
            "HTTP CONNECT example.service-now.com:443, HTTPS within",
        ),
        ("http://proxy.example", ("proxy.example", 80), "HTTP CONNECT example.service-now.com:443, HTTPS within"),
        ("https://[2001:db8::7]", ("2001:db8::7", 443), "HTTPS CONNECT example.service-now.com:443, HTTPS within"),
    ],
)
def test_behind_a_proxy_the_proxy_is_the_only_place(
    tmp_path: Path, proxy: str, place: tuple[str, int], carries: str
) -> None:
    """With a proxy the table has its host and port in the side's stead, and what it is asked for."""
    row = table(tmp_path, f"servicenow: {{proxy: {{url: '{proxy}'}}}}\n")[0]
    assert ((row.to, row.port), row.carries, row.why) == (place, carries, "proxy to ServiceNow")
    assert "example.service-now.com" not in row.peers


def test_an_appliance_by_address_is_written_without_brackets(tmp_path: Path) -> None:
    """An IPv6 address stands in the table as firewalls take it, and in a CONNECT line in its brackets."""
    drop_in = "appliances: {default: {url: 'https://[2001:db8::1]:8443'}}\n"
    assert ends(table(tmp_path, drop_in))[1] == ("out", "2001:db8::1", 8443, "tcp")
    proxied = "appliances: {default: {url: 'https://[2001:db8::1]:8443', proxy: {url: 'http://proxy.example:1'}}}\n"
    assert table(tmp_path, proxied)[1].carries == "HTTP CONNECT [2001:db8::1]:8443, HTTPS within"


def test_without_names_no_name_server_is_needed(tmp_path: Path) -> None:
    """Where both sides are addresses DNS is not in the table."""
    drop_in = "servicenow: {url: 'https://192.0.2.1'}\nappliances: {default: {url: 'https://192.0.2.2'}}\n"
    assert [row.carries for row in table(tmp_path, drop_in)] == ["HTTPS", "HTTPS"]


def test_a_disabled_appliance_is_not_in_the_table(tmp_path: Path) -> None:
    """Nothing is connected to an appliance that is switched off, and nothing let in from it."""
    other = "{product: pra, url: 'https://two.example', auth: {client_id: a, client_secret: {credential: s}}}"
    drop_in = f"appliances: {{default: {{enabled: false}}, two: {other}}}\n{LISTENER}  accept_from: [10.1.2.3]\n"
    rows = table(tmp_path, drop_in)
    assert [row.why for row in rows if row.direction == "out"][:2] == ["ServiceNow", "appliance two"]
    assert [row.why for row in rows if row.direction == "in"] == ["events and requests for approval of appliance two"]


def test_the_listener_is_let_in_from_where_it_accepts(tmp_path: Path) -> None:
    """Each network of accept_from, the global one and an appliance's own, and each load balancer is a row."""
    other = "{product: pra, url: 'https://two.example', auth: {client_id: a, client_secret: {credential: s}}, "
    drop_in = (
        f"{LISTENER}  accept_from: [10.1.2.3, 10.1.3.0/24]\n  proxy_protocol_from: [10.1.4.0/24]\n"
        f"appliances: {{two: {other} accept_from: ['2001:db8::/64']}}}}\n"
    )
    rows = [row for row in table(tmp_path, drop_in) if row.direction == "in"]
    assert [row.source for row in rows] == ["10.1.2.3", "10.1.3.0/24", "2001:db8::/64", "10.1.4.0/24"]
    assert {(row.to, row.port) for row in rows} == {("0.0.0.0", 8443)}  # noqa: S104 - nothing listens


def test_a_listener_that_knows_a_token_alone_says_any(tmp_path: Path) -> None:
    """Without accept_from the table cannot say from where, and says so."""
    rows = table(tmp_path, f"{LISTENER}  event_token: {{credential: token}}\n")
    assert [(row.source, row.peers) for row in rows if row.direction == "in"] == [("any", ("any",))]


@pytest.mark.parametrize(
    ("listen", "scrapers", "sources"),
    [
        ("127.0.0.1:9464", (), ["this machine"]),
        ("[::1]:9464", (), ["this machine"]),
        ("localhost:9464", ("10.5.0.0/16",), ["this machine"]),
        ("0.0.0.0:9464", (), ["any"]),
        ("metrics.example:9464", ("10.5.0.0/16", "10.6.0.1"), ["10.5.0.0/16", "10.6.0.1"]),
    ],
)
def test_the_metrics_are_let_in_from_their_scrapers(
    tmp_path: Path, listen: str, scrapers: tuple[str, ...], sources: list[str]
) -> None:
    """A loopback address is asked by this machine alone, another one by whom the administrator names."""
    rows = table(tmp_path, f"metrics: {{listen: '{listen}'}}\n", scrapers)
    assert [row.source for row in rows if row.direction == "in"] == sources
