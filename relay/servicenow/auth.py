"""How the relay proves who it is. One object is shared by all sessions; OAuth has a module of its own beside this one.

An `Authorization` header travels as a `Secret` until it is written into a request.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final, Protocol

from relay.core.errors import ConfigError, ServiceNowError
from relay.core.retry import Backoff
from relay.core.secret import Secret

ReadSecret = Callable[[], Secret]
"""Reads one secret as it is now; raises `ConfigError`."""

TROUBLE: Final = Backoff(first=1.0, longest=60.0)  # instances lock users after some failed tries


class Auth(Protocol):
    """A way to sign in. Raises nothing but `ServiceNowError` with `maybe_sent` False: the request was not begun."""

    hint: str
    """What a person should know when the credentials are refused."""

    async def header(self) -> Secret | None:
        """The value of the `Authorization` header for the next request; None for no such header."""
        ...

    async def refused(self, header: Secret | None) -> bool:
        """The instance answered 401 to this value. Returns whether a second try has a chance."""
        ...

    def renew(self) -> bool:
        """Take over secrets that changed; whether there were some.

        Raises:
            ConfigError: one cannot be used; the former stays in use.

        """
        ...


class BasicAuth:
    """A user's name and password. The password is read again after a 401: it may have been changed meanwhile."""

    def __init__(self, username: str, password: ReadSecret, hint: str = "") -> None:
        self.hint = hint
        self._username = username
        self._password = password
        self._header = self._make(password())

    async def header(self) -> Secret:
        """`Basic ...`."""
        return self._header

    async def refused(self, header: Secret | None) -> bool:
        """Read the password again; True when it is another one than the one that was refused."""
        try:
            self.renew()
        except ConfigError as error:
            raise ServiceNowError(2005, error.text) from None
        return self._header != header

    def renew(self) -> bool:
        """Read the password again."""
        former, self._header = self._header, self._make(self._password())
        return self._header != former

    def _make(self, password: Secret) -> Secret:
        pair = f"{self._username}:{password.reveal()}".encode()
        return Secret("Basic " + base64.b64encode(pair).decode())


class CertificateAuth:
    """The relay's certificate alone: the TLS handshake is the sign-in, and no `Authorization` header is sent.

    Args:
        reread: reads certificate and key again; whether they are others than before.

    """

    hint = (
        "it was shown the certificate of servicenow.tls.client_certificate; check that the instance has"
        " certificate-based authentication active, trusts the certificate's authority, and maps it to an active user"
    )

    def __init__(self, reread: Callable[[], bool]) -> None:
        self._reread = reread

    async def header(self) -> None:
        """None: there is no header."""
        return

    async def refused(self, header: Secret | None) -> bool:  # noqa: ARG002 - as `Auth` has it
        """Read certificate and key again: they may have been replaced meanwhile."""
        try:
            return self.renew()
        except ConfigError as error:
            raise ServiceNowError(2005, error.text) from None

    def renew(self) -> bool:
        """Read certificate and key again."""
        return self._reread()
