"""Posts on to the vendor's application in ServiceNow what an appliance posted, as the appliance would have.

Why without the relay's account and without a session: the appliance has none there, only a token in the query; and what
becomes of such a post must not count as a sign-in of the relay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from relay.core.errors import ServiceNowError
from relay.core.posts import PATHS, TOKEN
from relay.core.secret import Secret
from relay.host.http import BodyLimit, HttpClient, HttpRequest
from relay.servicenow.answers import check_status, refuse_hibernation
from relay.servicenow.session import Shared

FORWARDED: Final = frozenset(path for path in PATHS if path.startswith(("/x_", "/api/")))
"""Paths of the vendor's applications; the relay's own names mean nothing to ServiceNow."""
ANSWER_BYTES: Final = 64 * 1024
_LANE: Final = "forward"


class VendorPosts:
    """Posts to the vendor's application, one at a time, each over a connection of its own.

    Args:
        shared: the way to the instance.

    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._client = HttpClient(shared.target, keep_alive=False, cookies=False)

    async def post(self, path: str, fields: Iterable[tuple[str, str]], token: Secret | None = None) -> bytes:
        """Post a form; returns what was answered.

        Args:
            path: one of `FORWARDED`.
            fields: the form's names and values.
            token: what the vendor's application was told to expect; it goes into the query.

        Raises:
            ServiceNowError: the application did not take it, or with `maybe_sent` nobody knows.
            ValueError: another path.

        """
        if path not in FORWARDED:
            msg = f"the vendor's application has no path {path!r}"
            raise ValueError(msg)
        url = self._shared.target.origin + path
        if token is not None:
            self._shared.target.learn(token)
            url += "?" + urlencode({TOKEN: token.reveal()})
        request = HttpRequest(
            method="POST",
            url=url,
            headers=(("Accept", "*/*"), ("Content-Type", "application/x-www-form-urlencoded")),
            content=urlencode(list(fields), errors="replace").encode(),
            timeout=self._shared.timeout,
            limit=BodyLimit(ANSWER_BYTES),
        )
        response = await self._shared.send(self._client, _LANE, request)
        retry_after = response.header("retry-after")
        if response.status == 401:  # noqa: PLR2004  # HTTP's own name
            raise ServiceNowError(2006, "the vendor's application asks for an account")
        check_status(response.status, response.body, retry_after=retry_after, now=self._shared.now())
        refuse_hibernation(response.body)
        return response.body

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How posts of one appliance are posted on.

    Attributes:
        path: where those go that came to a path of the relay's own, which ServiceNow does not know.
        token: what the vendor's application was told to expect of it.

    """

    path: str
    token: Secret | None = None


class VendorEvents:
    """Posts events on, each with its appliance's token.

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

        """
        way = self._appliances[appliance]
        await self._posts.post(path if path in FORWARDED else way.path, fields.items(), way.token)
