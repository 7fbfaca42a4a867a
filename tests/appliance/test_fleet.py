"""All appliances of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.account import FakeAppliance, ManualClock, account_settings, work
from support.server import HttpsServer, Response
from support.tls import Authority, Certificate

from relay.appliance.fleet import Fleet
from relay.config.model import ServiceNowSettings, Settings, TlsSettings
from relay.core.errors import ApplianceError, ConfigError
from relay.host.secrets import SecretReader


def settings_of(**appliances: object) -> Settings:
    return Settings.model_construct(
        appliances=appliances, servicenow=ServiceNowSettings.model_construct(answer_bytes=1000)
    )


async def test_each_call_goes_to_its_own_appliance(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    """A call finds its appliance by name; each has its own account and settings."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    one, two = (FakeAppliance(answer=lambda _, name=name: Response(200, name)) for name in (b"one", b"two"))
    tls = TlsSettings.model_construct(
        ca_file=authority.ca_file, client_certificate=None, client_key=None, pins=(), minimum_version="TLSv1.2"
    )
    async with HttpsServer(one, certificate) as first, HttpsServer(two, certificate) as second:
        fleet = Fleet.open(
            settings_of(
                one=account_settings(first.url, secret, tls=tls),
                two=account_settings(second.url, secret, tls=tls),
                off=account_settings("https://off.example", secret, enabled=False),
            ),
            SecretReader({}),
            ManualClock(),
            "1.2.3",
        )
        for name in ("one", "two"):
            await fleet.admit(work(appliance=name))
            assert (await fleet.call(work(appliance=name))).body == name.encode()
        for name in ("off", "unknown"):
            for method in (fleet.admit, fleet.call):
                with pytest.raises(ApplianceError) as caught:
                    await method(work(appliance=name))
                assert (caught.value.number, caught.value.maybe_sent, caught.value.retryable) == (3012, False, False)
        one.answer = lambda _: Response(200, b"x" * 1001)
        with pytest.raises(ApplianceError, match="BSR-3008"):
            await fleet.call(work(appliance="one"))
        await fleet.aclose()


def test_a_fleet_that_cannot_be_opened(tmp_path: Path) -> None:
    """A CA file that is not there is a configuration error at start."""
    tls = TlsSettings.model_construct(
        ca_file=tmp_path / "absent", client_certificate=None, client_key=None, pins=(), minimum_version="TLSv1.2"
    )
    settings = settings_of(one=account_settings("https://one.example", tmp_path / "secret", tls=tls))
    with pytest.raises(ConfigError, match="BSR-1009"):
        Fleet.open(settings, SecretReader({}), ManualClock(), "1")
