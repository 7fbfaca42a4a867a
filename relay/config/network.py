"""The kinds of values that name a place in a network: origins, proxies, host names, pins, networks, sockets."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

from relay.config.leaves import LITERAL_SECRET, WRONG_KIND, Leaf, bad, plain_text
from relay.config.values import Endpoint
from relay.core.jobs import Json

Network = IPv4Network | IPv6Network

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_PIN = re.compile(r"sha256/([A-Za-z0-9+/]{43}=)", re.ASCII)
_URL = re.compile(r"[!-~]{1,512}", re.ASCII)
_LONGEST_HOST = 253


def _is_host(text: str) -> bool:
    """Whether text is a host name or an address (IPv6 without brackets)."""
    try:
        ip_address(text)
    except ValueError:
        last = text.removesuffix(".").rpartition(".")[2]  # numbers only is a mistyped address
        return bool(_HOST.fullmatch(text)) and len(text) <= _LONGEST_HOST and not last.isdigit()
    return "%" not in text


def _authority(host: str, port: int | None, default: int | None) -> str:
    """`host` or `host:port`, lower case, IPv6 in brackets in its shortest form."""
    name = host.lower().removesuffix(".")
    if ":" in name:
        name = f"[{IPv6Address(name)}]"
    return name if port in {None, default} else f"{name}:{port}"


def _split(text: str, schemes: tuple[str, ...], words: str) -> tuple[SplitResult, str, int | None]:
    """A URL's parts, after refusing all that is more than scheme, host and port."""
    try:
        parts = urlsplit(text) if _URL.fullmatch(text) else None
        port = parts.port if parts else None
    except ValueError:
        parts = None
    if parts is None:
        bad(WRONG_KIND, f"write {words}")
    if "@" in parts.netloc:
        bad(LITERAL_SECRET, "no user name or password in a URL; there are keys for them")
    if parts.scheme not in schemes:
        bad(WRONG_KIND, f"write {words}" + ("; http is refused, loopback included" if parts.scheme == "http" else ""))
    if not parts.hostname or not _is_host(parts.hostname) or port == 0 or parts.netloc.endswith(":"):
        bad(WRONG_KIND, f"write {words}")
    if parts.path not in {"", "/"} or "?" in text or "#" in text or "\\" in text:
        bad(WRONG_KIND, "write only scheme, host and port: no path, no query")
    return parts, parts.hostname, port


class Origin(Leaf):
    """`https://host[:port]`: where one side is. Held in lower case without the default port."""

    words = "an https URL of host and port"
    example = "https://example.service-now.com"

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The origin."""
        _, host, port = _split(plain_text(value, self.words), ("https",), f"{self.words}, like {self.example}")
        return f"https://{_authority(host, port, 443)}"

    def schema(self) -> dict[str, Json]:
        """An https URL."""
        return {"type": "string", "pattern": "^https://[^/?#@\\\\]+/?$"}


class ProxyUrl(Leaf):
    """`http://host:port` or `https://host:port` of a proxy that understands CONNECT."""

    words = "the URL of a proxy"
    example = "http://proxy.example.com:3128"

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The URL."""
        words = f"{self.words}, like {self.example}"
        parts, host, port = _split(plain_text(value, self.words), ("http", "https"), words)
        return f"{parts.scheme}://{_authority(host, port, None)}"

    def schema(self) -> dict[str, Json]:
        """An http or https URL."""
        return {"type": "string", "pattern": "^https?://[^/?#@\\\\]+/?$"}


class HostName(Leaf):
    """`host` or `host:port`; lower case, the port kept as it is written."""

    words = "a host name, or host:port"
    example = "support.example.com"

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The name."""
        text = plain_text(value, self.words)
        _, host, port = _split(f"https://{text}", ("https",), f"{self.words}, like {self.example}")
        if "/" in text:
            self.refuse()
        return _authority(host, port, None)

    def schema(self) -> dict[str, Json]:
        """A string without slashes."""
        return {"type": "string", "pattern": "^[^/?#@\\\\]+$"}


class Pin(Leaf):
    """`sha256/` and the base64 of the SHA-256 of a public key (SubjectPublicKeyInfo)."""

    words = "sha256/ and the base64 of 32 bytes"
    example = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The pin."""
        text = plain_text(value, self.words)
        found = _PIN.fullmatch(text)
        try:
            digest = base64.b64decode(found[1], validate=True) if found else b""
        except binascii.Error:  # pragma: no cover  # the grammar leaves nothing that does not decode
            digest = b""
        if found is None or base64.b64encode(digest).decode("ascii") != found[1]:
            self.refuse()
        return text

    def schema(self) -> dict[str, Json]:
        """Its grammar."""
        return {"type": "string", "pattern": f"^{_PIN.pattern}$"}


class NetworkOf(Leaf):
    """An IPv4 or IPv6 address or network."""

    words = "an address or network"
    example = "10.1.3.0/24"

    def parse(self, value: Any) -> Network:  # noqa: ANN401  # see Leaf
        """The network; an address is one of a single host."""
        if isinstance(value, IPv4Network | IPv6Network):
            return value
        text = plain_text(value, self.words)
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            self.refuse()
        if "/" in text and ip_network(text, strict=False).network_address != ip_address(text.partition("/")[0]):
            bad(WRONG_KIND, f"the address has bits beyond the network; write {network}")
        return network

    def schema(self) -> dict[str, Json]:
        """A string of an address's characters."""
        return {"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"}

    def write(self, value: Network) -> Json:
        """The network; a single host without its length."""
        return str(value.network_address) if value.prefixlen == value.max_prefixlen else str(value)


class Listen(Leaf):
    """`address:port` to listen on; IPv6 in brackets."""

    words = "address:port"
    example = "0.0.0.0:8443"

    def parse(self, value: Any) -> Endpoint:  # noqa: ANN401  # see Leaf
        """The endpoint."""
        if isinstance(value, Endpoint):
            return value
        text = plain_text(value, self.words)
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@\s]+)):([0-9]{1,5})", text, re.ASCII)
        if found is None:
            self.refuse()
        host = found[1] or found[2]
        port = int(found[3])
        if not _is_host(host) or (found[1] and ":" not in host) or not 1 <= port <= 65535:  # noqa: PLR2004  # 16 bits
            self.refuse()
        return Endpoint(host.lower(), port)

    def schema(self) -> dict[str, Json]:
        """A string that ends in a port."""
        return {"type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[^\\[\\]:/@\\s]+):[0-9]{1,5}$"}
