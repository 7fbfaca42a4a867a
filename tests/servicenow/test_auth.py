"""Signing in without OAuth: passwords that change, and the certificate alone."""

from __future__ import annotations

import base64

import pytest

from relay.core.errors import ConfigError, ServiceNowError
from relay.core.secret import Secret
from relay.servicenow.auth import BasicAuth, CertificateAuth


async def shown(auth: BasicAuth) -> str:
    return (await auth.header()).reveal()


async def test_basic() -> None:
    """Basic authentication is user and password in UTF-8."""
    auth = BasicAuth("svc", lambda: Secret("pässword"))
    assert await shown(auth) == "Basic " + base64.b64encode("svc:pässword".encode()).decode()


async def test_basic_after_401() -> None:
    """After a 401 the password is read again; the same one is not worth another try."""
    password = Secret("old")
    auth = BasicAuth("svc", lambda: password)
    first = await auth.header()
    assert not await auth.refused(first)
    password = Secret("new")
    assert await auth.refused(first)
    assert await auth.header() != first


async def test_basic_unreadable_after_401() -> None:
    """A password that cannot be read after a 401 is an error that says so, and nothing was sent."""
    readings = iter([Secret("x")])

    def read() -> Secret:
        try:
            return next(readings)
        except StopIteration:
            raise ConfigError(1009, "gone") from None

    auth = BasicAuth("svc", read)
    with pytest.raises(ServiceNowError) as caught:
        await auth.refused(await auth.header())
    assert (caught.value.number, caught.value.maybe_sent) == (2005, False)
    assert "gone" in caught.value.text


async def test_basic_is_renewed() -> None:
    """A password that was replaced is used from then on; one that cannot be read leaves the former in use."""
    password: Secret | None = Secret("old")

    def read() -> Secret:
        if password is None:
            raise ConfigError(1009, "gone")
        return password

    auth = BasicAuth("svc", read)
    first = await shown(auth)
    assert not auth.renew()
    password = None
    with pytest.raises(ConfigError):
        auth.renew()
    assert await shown(auth) == first
    password = Secret("new")
    assert auth.renew()
    assert await shown(auth) != first


async def test_a_certificate_needs_no_header() -> None:
    """With the certificate alone there is no header; after a 401 its files are read again."""
    readings = iter([False, True])
    auth = CertificateAuth(lambda: next(readings))
    await auth.header()
    assert not await auth.refused(None)
    assert auth.renew()


async def test_a_certificate_that_cannot_be_read_after_a_401() -> None:
    """The reason stands in the error, and nothing more was sent."""

    def reread() -> bool:
        raise ConfigError(1009, "client.pem: gone")

    with pytest.raises(ServiceNowError) as caught:
        await CertificateAuth(reread).refused(None)
    assert (caught.value.number, caught.value.maybe_sent) == (2005, False)
    assert "client.pem: gone" in caught.value.text
