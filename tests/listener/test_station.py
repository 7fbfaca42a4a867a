"""What the configuration says of the listener."""

from __future__ import annotations

import stat
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from support.configuration import SMALLEST, loaded
from support.tls import Authority

from relay.core.errors import ConfigError
from relay.core.posts import Owner, owner_of
from relay.host.secrets import SecretReader
from relay.listener.station import station_of


def text_of(tmp_path: Path, certificate: Path, key: Path, more: str = "") -> str:
    """A configuration with a listener."""
    token = tmp_path / "token"
    token.write_text("the token\n")
    token.chmod(0o600)
    return SMALLEST + (
        f"listener: {{listen: '127.0.0.1:8443', accept_from: [10.1.2.0/24], event_token: {{file: {token}}}, "
        f"tls: {{certificate: {certificate}, key: {{file: {key}}}}}{more}}}\n"
    )


def test_without_a_listener_there_is_no_station(tmp_path: Path) -> None:
    """It can be absent."""
    assert station_of(loaded(tmp_path, SMALLEST).settings, SecretReader({}).read) is None


def test_addresses_tokens_and_balancers_are_those_of_the_configuration(tmp_path: Path, authority: Authority) -> None:
    """The global keys hold for an appliance that has none of its own, and every secret is read."""
    one = authority.issue()
    text = text_of(tmp_path, one.chain, one.key, ", proxy_protocol_from: [10.1.4.0/24]")
    station = station_of(loaded(tmp_path, text).settings, SecretReader({}).read)
    assert station
    assert (station.endpoint.host, station.endpoint.port) == ("127.0.0.1", 8443)
    (sender,) = station.senders
    assert sender.networks == (ip_network("10.1.2.0/24"),)
    source = ip_address("10.1.2.3")
    assert owner_of(station.senders, source, b"outbound_event_token=the%20token") == Owner(sender.appliance)
    assert station.balances(ip_address("10.1.4.9"))
    assert not station.balances(source)
    assert "the token" not in repr(station)


def test_an_appliances_own_keys_replace_the_global_ones(tmp_path: Path, authority: Authority) -> None:
    """Its own networks count instead; what it does not say itself holds from above."""
    one = authority.issue()
    text = text_of(tmp_path, one.chain, one.key).replace("listener:", "    accept_from: [192.0.2.1]\nlistener:", 1)
    station = station_of(loaded(tmp_path, text).settings, SecretReader({}).read)
    assert station
    assert [sender.networks for sender in station.senders] == [(ip_network("192.0.2.1/32"),)]
    assert all(sender.token for sender in station.senders)


def test_what_cannot_be_used_is_told(tmp_path: Path, authority: Authority) -> None:
    """A key of another certificate, a file that is none, and one that others may change have their codes."""
    one, other = authority.issue(), authority.issue()
    reader = SecretReader({}).read
    with pytest.raises(ConfigError) as caught:
        station_of(loaded(tmp_path, text_of(tmp_path, one.chain, other.key)).settings, reader)
    assert caught.value.number == 1009
    assert caught.value.detail.startswith(f"the listener's certificate {one.chain} with its key: ")
    with pytest.raises(ConfigError) as caught:
        station_of(loaded(tmp_path, text_of(tmp_path, tmp_path / "none.pem", one.key)).settings, reader)
    assert caught.value.number == 1009
    one.chain.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IWOTH)
    with pytest.raises(ConfigError) as caught:
        station_of(loaded(tmp_path, text_of(tmp_path, one.chain, one.key)).settings, reader)
    assert caught.value.number == 1010
