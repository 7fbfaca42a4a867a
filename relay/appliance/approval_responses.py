"""Sends decisions on requests for approval to the appliances that asked.

The appliance names where it waits for its answer, and that name came over the network: it is compared with what the
configuration says of the appliance, and what is connected to and sent is made of the configuration alone. Nothing that
is worth anything goes along: no token, no cookie, no query; and no redirect is followed.

Why always to the appliance's `url`, also where the request says another of its names: they are the same appliance, and
so one place on each side stays all that the relay ever connects to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Final, Self

from relay.appliance.faults import translate
from relay.config.approval_rules import door_of
from relay.config.model import Settings
from relay.core.approval_settling import ATTRIBUTE
from relay.core.approval_values import Answer, Door, Encoding
from relay.core.errors import ApplianceError
from relay.core.refusal import Refusal
from relay.core.urls import encode_pairs
from relay.host.exchange import HttpFault, HttpRequest, Target
from relay.host.http import BodyLimit, HttpClient

ANSWER_BYTES: Final = 64 * 1024
"""The largest answer that is read; nothing in it matters but its status."""

LANES: Final = 16
"""Decisions that may be on their way to one appliance at once. Each takes a connection of its own, as every call does:
at 100 ms for a connection and an answer this is 160 a second."""

ELSEWHERE: Final = 3023

_TYPES: Final[Mapping[Encoding, str]] = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


class _Way:
    """The way to one appliance."""

    def __init__(self, name: str, target: Target, door: Door, timeout: float) -> None:
        self.name = name
        self.target = target
        self.door = door
        self.timeout = timeout
        self._lanes: asyncio.LifoQueue[HttpClient] = asyncio.LifoQueue()
        for _ in range(LANES):
            self._lanes.put_nowait(HttpClient(target, keep_alive=False, cookies=False))

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[HttpClient]:
        """A client that is free.

        Raises:
            ApplianceError: BSR-3003, none is.

        """
        try:
            async with asyncio.timeout(self.timeout):
                lane = await self._lanes.get()
        except TimeoutError:
            detail = f"{self.name}: waiting for other decisions"
            raise ApplianceError(3003, detail, maybe_sent=False) from None
        try:
            yield lane
        finally:
            self._lanes.put_nowait(lane)

    async def aclose(self) -> None:
        while not self._lanes.empty():
            await self._lanes.get_nowait().aclose()


class ApprovalResponses:
    """Where decisions go.

    Args:
        ways: by the appliance's name.

    """

    def __init__(self, ways: Mapping[str, _Way]) -> None:
        self._ways = dict(ways)
        self._agent = f"bseries-relay/{metadata.version('bseries-relay')}"

    @classmethod
    def open(cls, settings: Settings, targets: Mapping[str, Target]) -> Self:
        """The ways to all appliances that are enabled; nothing is connected yet.

        Args:
            settings: the configuration.
            targets: where the enabled appliances are, by name; the same as those of their calls, so that renewed
                certificates hold for both.

        """
        sections = settings.appliances
        return cls(
            {
                name: _Way(name, target, door_of(settings, name), sections[name].timeout)
                for name, target in targets.items()
            }
        )

    async def send(self, appliance: str, url: str, answer: Answer, encoding: Encoding) -> int:
        """Send a decision once; returns the status of the appliance's answer, whatever it is.

        Args:
            appliance: its name in the configuration.
            url: where its request says that it waits; only compared.
            answer: the decision.
            encoding: how it is written.

        Raises:
            ApplianceError: BSR-3012 when there is no such appliance, BSR-3023 when the URL is another place: then
                nothing was sent. Otherwise no HTTP answer came; `maybe_sent` False only when no byte of the decision
                can have arrived.

        """
        way = self._ways.get(appliance)
        if way is None:
            raise ApplianceError(3012, appliance)
        try:
            way.door.check(url)
        except Refusal as refusal:
            raise ApplianceError(ELSEWHERE, f"{appliance}: {refusal.detail}") from None
        request = HttpRequest(
            "POST",
            way.target.origin + way.door.path,
            (
                ("User-Agent", self._agent),
                ("Accept", "*/*"),
                ("Accept-Encoding", "identity"),
                ("Content-Type", _TYPES[encoding]),
            ),
            body_of(answer, encoding),
            timeout=way.timeout,
            limit=BodyLimit(ANSWER_BYTES),
        )
        async with way.lane() as lane:
            try:
                return (await lane.send(request)).status
            except HttpFault as fault:
                if fault.status is not None:
                    return fault.status  # it has decided already; what became of the rest of its answer is no matter
                raise translate(fault, name=appliance) from None

    async def aclose(self) -> None:
        """End everything under way."""
        for way in self._ways.values():
            await way.aclose()


def body_of(answer: Answer, encoding: Encoding) -> bytes:
    """A decision as it is sent. What is no text, lone surrogates, becomes a question mark."""
    pairs = {
        "response_id": answer.response_id,
        "response": answer.response,
        "message": answer.message,
        **{f"{ATTRIBUTE}{name}": value for name, value in answer.attributes.items()},
    }
    whole = {name: value.encode("utf-8", "replace").decode() for name, value in pairs.items()}
    if encoding == "json":
        return json.dumps(whole, separators=(",", ":")).encode("ascii")
    return encode_pairs(whole.items()).encode("ascii")
