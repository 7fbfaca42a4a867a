"""From settings to a target."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.tls import Authority

from relay.config.model import ProxySettings, TlsSettings
from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.host.secrets import SecretReader
from relay.host.targets import make_target
from relay.host.tls import WatchedContext


def private(path: Path, text: str) -> SecretRef:
    path.write_text(text)
    path.chmod(0o600)
    return SecretRef("file", str(path))


def test_everything_of_the_sections_reaches_the_target(authority: Authority, tmp_path: Path) -> None:
    """CA, pins, client certificate with its secret key, version, proxy with its password."""
    mine = authority.issue("relay")
    tls = TlsSettings.model_construct(
        ca_file=authority.ca_file,
        client_certificate=mine.chain,
        client_key=private(tmp_path / "key", mine.key.read_text()),
        pins=(mine.pin,),
        minimum_version="TLSv1.3",
    )
    proxy = ProxySettings.model_construct(
        url="http://proxy.example:3128", username="relay", password=private(tmp_path / "pw", "hunter2")
    )
    target = make_target("side", "https://side.example", tls, proxy, SecretReader({}), timeout=30)
    assert (target.name, target.origin, target.connect_timeout) == ("side", "https://side.example", 10.0)
    assert isinstance(target.context, WatchedContext)
    assert len(target.context.pins) == 1
    assert target.context.minimum_version.name == "TLSv1_3"
    assert target.proxy is not None
    assert (target.proxy.url, target.proxy.username) == ("http://proxy.example:3128", "relay")
    assert target.proxy.password == Secret("hunter2")
    assert target.proxy.context is None
    assert "hunter2" not in repr(target)


def test_little_is_needed() -> None:
    """Without a section's keys there is the system's trust, no proxy, and a third of the time to connect."""
    target = make_target("side", "https://side.example", TlsSettings(), None, SecretReader({}), timeout=3)
    assert (target.proxy, target.connect_timeout) == (None, 1.0)


def test_a_proxy_by_tls_has_the_systems_trust() -> None:
    """A proxy with https gets a context, one without an account gets no password."""
    proxy = ProxySettings.model_construct(url="https://proxy.example:3129", username=None, password=None)
    target = make_target("side", "https://side.example", TlsSettings(), proxy, SecretReader({}), timeout=3)
    assert target.proxy is not None
    assert target.proxy.context is not None
    assert target.proxy.password is None


def test_a_key_that_cannot_be_read(authority: Authority, tmp_path: Path) -> None:
    """A missing client key is the secret's own error."""
    tls = TlsSettings.model_construct(
        ca_file=None,
        client_certificate=authority.ca_file,
        client_key=SecretRef("file", str(tmp_path / "absent")),
        pins=(),
        minimum_version="TLSv1.2",
    )
    with pytest.raises(ConfigError, match="BSR-1009"):
        make_target("side", "https://side.example", tls, None, SecretReader({}), timeout=3)


def test_only_changed_files_are_taken_over(authority: Authority, tmp_path: Path) -> None:
    """`renew` replaces context and proxy together when a file changed, and never when none did."""
    ca, mine, other = tmp_path / "ca.pem", authority.issue("relay"), authority.issue("relay")
    shutil.copy(authority.ca_file, ca)
    certificate = tmp_path / "crt"
    shutil.copy(mine.chain, certificate)
    key, password = private(tmp_path / "key", mine.key.read_text()), private(tmp_path / "pw", "first")
    tls = TlsSettings.model_construct(ca_file=ca, client_certificate=certificate, client_key=key, pins=())
    proxy = ProxySettings.model_construct(url="http://proxy.example:3128", username="relay", password=password)
    target = make_target("side", "https://side.example", tls, proxy, SecretReader({}), timeout=3)
    context, way = target.context, target.proxy
    assert not target.renew()
    assert (target.context, target.proxy) == (context, way)

    private(tmp_path / "pw", "second")
    assert target.renew()
    assert target.context is not context
    assert target.proxy is not None
    assert target.proxy.password == Secret("second")

    # A certificate without its key is no pair: the former two go on until both are there.
    context = target.context
    shutil.copy(other.chain, certificate)
    with pytest.raises(ConfigError, match="key values mismatch"):
        target.renew()
    assert target.context is context
    private(tmp_path / "key", other.key.read_text())
    assert target.renew()
    assert target.context is not context

    context = target.context
    ca.unlink()
    with pytest.raises(ConfigError, match=r"BSR-1009.*ca\.pem"):
        target.renew()
    assert target.context is context
    os.mkfifo(ca, 0o600)
    with pytest.raises(ConfigError, match=r"BSR-1009.*ca\.pem: no regular file"):
        target.renew()
    ca.unlink()
    shutil.copy(authority.ca_file, ca)
    assert not target.renew()
