"""Posts requests for approval on to the vendor's application in ServiceNow, which then decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from relay.core.approval_values import Request
from relay.core.errors import ConfigError, ServiceNowError
from relay.servicenow.vendor import FORWARDED, NOT_TAKEN, Forwarding, VendorPosts

PATH: Final = "/x_bmgr_bomgar_pam_bomgar_endpoint_approval.do"
"""Where the vendor's application takes requests for approval (vendor's guide for the ServiceNow integration of PRA)."""

AT_ONCE: Final = 10
"""Requests that are on their way at once: a person waits for each, and the application may take its time."""


class VendorApprovals:
    """Posts requests on, each as it came and with its appliance's token.

    Args:
        posts: the way there.
        appliances: by name; how their posts are posted on.

    """

    def __init__(self, posts: VendorPosts, appliances: Mapping[str, Forwarding]) -> None:
        self._posts = posts
        self._appliances = appliances
        self._free: asyncio.LifoQueue[str] = asyncio.LifoQueue()
        for number in range(AT_ONCE):
            self._free.put_nowait(f"approvals {number}")

    async def forward(self, request: Request) -> bytes:
        """Post a request on; returns the body of the answer. May be cancelled: then nobody knows.

        Raises:
            ServiceNowError: as `VendorPosts.post`; BSR-2027 also when the token cannot be read.

        """
        way = self._appliances[request.appliance]
        try:
            token = None if way.token is None else way.token()
        except ConfigError as error:
            raise ServiceNowError(NOT_TAKEN, error.text) from None
        path = request.path if request.path in FORWARDED else PATH
        sender = await self._free.get()
        try:
            return await self._posts.post(path, request.fields.items(), token, sender=sender)
        finally:
            self._free.put_nowait(sender)
