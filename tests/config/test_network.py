from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from relay.config.leaves import Leaf
from relay.config.network import HostName, Listen, NetworkOf, Origin, Pin, ProxyUrl
from relay.config.values import Endpoint, Plain
from relay.core.urls import read_authority


def refusal(leaf: Leaf, value: Any) -> tuple[int, str]:
    with pytest.raises(PydanticCustomError) as caught:
        leaf.parse(value)
    assert caught.value.context is not None
    return caught.value.context["number"], caught.value.context["text"]


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Example.Service-Now.com", "https://example.service-now.com"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com.", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("https://relay01", "https://relay01"),
        ("https://10.0.0.1:1", "https://10.0.0.1:1"),
        ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("HTTPS://example.com", "https://example.com"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    """An origin is held in one form, so that two spellings of a host compare equal."""
    assert Origin().parse(Plain(text)) == origin


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com",
        "http://127.0.0.1:8080",
        "http://localhost",
        "ftp://example.com",
        "example.com",
        "//example.com",
        "https://",
        "https://:443",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:x",
        "https://exa mple.com",
        "https://ex_ample.com",
        "https://-example.com",
        "https://example..com",
        "https://münchen.example",
        "https://1.2.3.400",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://example.com/path",
        "https://example.com?x=1",
        "https://example.com?",
        "https://example.com#f",
        "https://example.com\\evil.com",
        "https://example.com/..",
        "https://" + "a." * 130 + "com",
        "https://exa\tmple.com",
        "https://example.com\n",
        "",
    ],
)
def test_what_is_no_origin(text: str) -> None:
    """Only https, a host and a port: no plain http, not even to loopback, and nothing after the authority."""
    assert refusal(Origin(), text)[0] == 1006


def test_http_is_refused_with_its_reason() -> None:
    """The message says that loopback is no exception."""
    assert "http is refused, loopback included" in refusal(Origin(), "http://127.0.0.1")[1]


@pytest.mark.parametrize("leaf", [Origin(), ProxyUrl(), HostName()])
def test_no_password_in_a_url(leaf: Leaf) -> None:
    """User information is a literal secret; it is refused as one and not repeated."""
    text = "me:hunter2@example.com" if isinstance(leaf, HostName) else "https://me:hunter2@example.com"
    number, message = refusal(leaf, text)
    assert number == 1008
    assert "hunter2" not in message


@given(st.text(alphabet="aZ0.-_:/@[]%\\?#é\n 9", max_size=30))
def test_what_passes_as_a_host_name_the_policy_can_read(text: str) -> None:
    """Configuration and policy agree on what a host is: whatever one accepts the other reads."""
    for leaf, prefix in ((HostName(), ""), (Origin(), "https://")):
        try:
            parsed = leaf.parse(prefix + text)
        except PydanticCustomError:
            continue
        host, port = read_authority(parsed.removeprefix("https://"))
        assert host == host.lower()
        assert 1 <= port <= 65535


def test_proxies() -> None:
    """A proxy may be reached by http; its port is kept."""
    assert ProxyUrl().parse("http://Proxy.example.com:3128/") == "http://proxy.example.com:3128"
    assert ProxyUrl().parse("https://proxy") == "https://proxy"
    assert refusal(ProxyUrl(), "socks5://proxy:1080")[0] == 1006


def test_host_names() -> None:
    """A host name may name a port, which is then kept even if it is the usual one."""
    assert HostName().parse("Support.example.com") == "support.example.com"
    assert HostName().parse("support.example.com:443") == "support.example.com:443"
    for text in ("https://x", "x/", "x/y", "", "a b"):
        assert refusal(HostName(), text)[0] == 1006


def test_pins() -> None:
    """A pin is the base64 of exactly 32 bytes, in its only spelling."""
    pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert Pin().parse(pin) == pin
    for text in (
        "sha256/BASE64=",
        pin[:-2] + "V=",
        pin[:-1],
        pin.removeprefix("sha256/"),
        "sha1/" + pin[7:],
        pin + "=",
    ):
        assert refusal(Pin(), text)[0] == 1006


@pytest.mark.parametrize(
    ("text", "network", "written"),
    [
        ("10.1.2.3", "10.1.2.3/32", "10.1.2.3"),
        ("10.1.3.0/24", "10.1.3.0/24", "10.1.3.0/24"),
        ("2001:db8::/32", "2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128", "::1"),
        ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, network: str, written: str) -> None:
    """An address is a network of one host and is written back as an address."""
    parsed = NetworkOf().parse(Plain(text))
    assert parsed == ip_network(network)
    assert NetworkOf().parse(parsed) is parsed
    assert NetworkOf().write(parsed) == written


def test_what_is_no_network() -> None:
    """Host names and odd lengths are refused; bits beyond the length are pointed out with the network meant."""
    for text in ("example.com", "10.1.2", "10.0.0.0/33", "10.0.0.0/", "", "1::2::3"):
        assert refusal(NetworkOf(), text)[0] == 1006
    assert refusal(NetworkOf(), "10.1.2.3/24")[1] == "the address has bits beyond the network; write 10.1.2.0/24"


def test_sockets() -> None:
    """An address and a port; IPv6 in brackets."""
    assert Listen().parse("10.0.0.1:8443") == Endpoint("10.0.0.1", 8443)
    assert Listen().parse("[::]:8443") == Endpoint("::", 8443)
    assert Listen().parse("Localhost:1") == Endpoint("localhost", 1)
    assert Listen().parse(Endpoint("x", 1)) == Endpoint("x", 1)
    assert (str(Endpoint("::1", 5)), str(Endpoint("10.0.0.1", 5))) == ("[::1]:5", "10.0.0.1:5")
    for text in (
        "8443",
        ":8443",
        "::1:8443",
        "[10.0.0.1]:1",
        "0.0.0.0:0",
        "0.0.0.0:65536",
        "a b:1",
        "[::1]",
        "x:",
        "[]:1",
    ):
        assert refusal(Listen(), text)[0] == 1006
