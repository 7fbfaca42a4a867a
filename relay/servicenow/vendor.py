"""Posts on to the vendor's application in ServiceNow what an appliance posted, as the appliance would have.

Why without the relay's account and without a session: the appliance has none there, only a token in the query; and what
becomes of such a post must not count as a sign-in of the relay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote_plus, urlencode

from relay.config.model import Settings
from relay.config.values import SecretRef
from relay.core.errors import ServiceNowError
from relay.core.posts import PATHS, TOKEN
from relay.core.secret import Secret
from relay.host.http import BodyLimit, HttpClient, HttpRequest
from relay.servicenow.answers import check_status, refuse_hibernation
from relay.servicenow.session import Shared

FORWARDED: Final = frozenset(path for path in PATHS if path.startswith(("/x_", "/api/")))
"""Paths of the vendor's applications; the relay's own names mean nothing to ServiceNow."""
VENDOR_PATHS: Final[Mapping[str, str]] = {
    "pra": "/api/x_bmgr_bomgar_pam/outbound_event/session_end",
    "rs": "/x_bmgr_bomgar_inte_bomgar_post.do",
}
"""By product: where the vendor's application takes events."""
ANSWER_BYTES: Final = 1024 * 1024
NOT_TAKEN: Final = 2027
_LANE: Final = "forward"
_CLOSED: Final = frozenset({2005, 2006, 2016})
"""What 401, 403 and 404 are elsewhere: there they are about the relay's account and about records."""
_NO_RESOURCE: Final = "does not represent any resource"
"""In the message of the 400 by which an instance says that no application has the path."""
_LOGIN: Final = re.compile(rb"type\s{0,3}=\s{0,3}[\"']?password", re.IGNORECASE)
"""A page that asks for a password stands where the application should be, whatever its status says."""


class VendorPosts:
    """Posts to the vendor's application: each over a connection of its own, those of one sender one at a time.

    Args:
        shared: the way to the instance.

    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._clients: dict[str, HttpClient] = {}

    async def post(
        self, path: str, fields: Iterable[tuple[str, str]], token: Secret | None = None, *, sender: str = ""
    ) -> bytes:
        """Post a form; returns what was answered.

        Args:
            path: one of `FORWARDED`.
            fields: the form's names and values.
            token: what the vendor's application was told to expect; it goes into the query.
            sender: waits for its own posts only, such as the events of one appliance.

        Raises:
            ServiceNowError: the application did not take it, or with `maybe_sent` nobody knows. BSR-2027: it is not
                there, or closed to us.
            ValueError: another path.

        """
        if path not in FORWARDED:
            msg = f"the vendor's application has no path {path!r}"
            raise ValueError(msg)
        shared = self._shared
        url = shared.target.origin + path
        if token is not None:
            shared.target.learn(token)
            url += "?" + urlencode({TOKEN: token.reveal()})
        request = HttpRequest(
            method="POST",
            url=url,
            headers=(("Accept", "*/*"), ("Content-Type", "application/x-www-form-urlencoded")),
            content=urlencode(list(fields), errors="replace").encode(),
            timeout=shared.timeout,
            limit=BodyLimit(ANSWER_BYTES),
        )
        if sender not in self._clients:
            self._clients[sender] = HttpClient(shared.target, keep_alive=False, cookies=False)
        try:
            response = await shared.send(self._clients[sender], _LANE, request)
            check_status(response.status, response.body, retry_after=response.header("retry-after"), now=shared.now())
        except ServiceNowError as error:
            raise _told(error, token) from None
        refuse_hibernation(response.body)
        if _LOGIN.search(response.body):
            raise ServiceNowError(NOT_TAKEN, "a page that asks for a password")
        return response.body

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How posts of one appliance are posted on.

    Attributes:
        path: where those go that came to a path of the relay's own, which ServiceNow does not know.
        token: gives what the vendor's application was told to expect of it, as it is now; None: nothing.

    """

    path: str
    token: Callable[[], Secret] | None = None


def forwardings(settings: Settings, read: Callable[[SecretRef], Secret]) -> dict[str, Forwarding]:
    """How the events of each appliance are posted on: with the token that the appliance itself sends along.

    Whatever becomes of new events, those that were taken to be posted on still are: hence every appliance.

    Args:
        settings: the configuration.
        read: gives a secret as it is now.

    """
    found = {}
    for name, appliance in settings.appliances.items():
        token = settings.event_token(name)
        path = VENDOR_PATHS[appliance.product]
        found[name] = Forwarding(path, None if token is None else partial(read, token))
    return found


class VendorEvents:
    """Posts events on, each with its appliance's token; no appliance waits for another.

    Args:
        posts: the way there.
        appliances: by name; events of others are not posted on.

    """

    def __init__(self, posts: VendorPosts, appliances: Mapping[str, Forwarding]) -> None:
        self._posts = posts
        self._appliances = appliances

    async def forward(self, appliance: str, path: str, fields: Mapping[str, str]) -> None:
        """Post an event to the path at which it came.

        Raises:
            ServiceNowError: as `VendorPosts.post`.
            ConfigError: the token cannot be read; nothing was sent.

        """
        way = self._appliances[appliance]
        token = None if way.token is None else way.token()
        path = path if path in FORWARDED else way.path
        await self._posts.post(path, fields.items(), token, sender=f"events {appliance}")


def _told(error: ServiceNowError, token: Secret | None) -> ServiceNowError:
    """An error of the instance, as one of the application where it is that, without a token that was sent back."""
    detail = error.detail
    if token is not None and any(form in detail for form in (token.reveal(), quote_plus(token.reveal()))):
        detail = detail.partition(":")[0]
    closed = error.number in _CLOSED or (error.number == 2015 and _NO_RESOURCE in detail)  # noqa: PLR2004  # a code
    number = NOT_TAKEN if closed else error.number
    return ServiceNowError(number, detail, maybe_sent=error.maybe_sent, after=error.after)
