"""What administrators may ask and order about sessions.

Why short questions instead of one long order: the relay may be started anew in between, and whoever asked goes on with
the next question. A request and its answer hold a bounded number of sessions; one question takes as long as one
request to the appliance at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from relay.core.codes import REGISTRY
from relay.core.errors import ApplianceError, ConfigError
from relay.core.jobs import Json
from relay.core.session_events import LONGEST_LSID
from relay.core.session_report import LATEST
from relay.core.session_standing import OPEN
from relay.daemon.app import Running
from relay.daemon.preview_page import page
from relay.sessions.by_hand import Asked, Stands, Wish, ask_for, how_they_stand, listed
from relay.sessions.parts import Parts
from relay.sessions.preview import preview

MOST: Final = 500
"""Sessions in one request."""
PATIENCE: Final = 20.0
"""Seconds that a question to the appliance waits for its turn, since others come first."""

Arguments = Mapping[str, Json]


class SessionAdmin:
    """The commands about sessions.

    Args:
        running: gives the parts of the relay that is at work.
        log: writes a command to the audit log: its name, who gave it, about what.

    """

    def __init__(self, running: Callable[[], Running], log: Callable[[str, str, str], Awaitable[None]]) -> None:
        self._running = running
        self._log = log
        self.commands = {
            "sessions listed": self._listed,
            "sessions standing": self._standing,
            "sessions import": self._import,
            "sessions show": self._show,
        }

    @property
    def _parts(self) -> Parts:
        return self._running().sessions.parts

    async def _listed(self, arguments: Arguments, _: str) -> Json:
        """The sessions that ended in a time."""
        parts = self._parts
        appliance = _appliance(parts, arguments)
        since, seconds = _number(arguments, "since"), _number(arguments, "seconds")
        return {
            "appliance": appliance,
            "lsids": await _in_turn(lambda: listed(parts, appliance, since, seconds)),
        }

    async def _standing(self, arguments: Arguments, _: str) -> Json:
        """How sessions stand, and whether an order to import them would change anything."""
        parts = self._parts
        wish = _wish(arguments)
        stands = await how_they_stand(parts, await _asked(parts, arguments))
        told = [{**_shown(one), "would": one.standing not in OPEN and one.event(wish) != ""} for one in stands]
        return {"sessions": told, "open": parts.open()}

    async def _import(self, arguments: Arguments, author: str) -> Json:
        """Have sessions imported: how each stood, and how it stands now."""
        parts = self._parts
        asked = list({one.job: one for one in await _asked(parts, arguments)}.values())
        if asked:
            more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
            await self._log("import", author, f"session {asked[0].lsid} of {asked[0].appliance}{more}")
        before = await ask_for(parts, asked, _wish(arguments))
        after = await how_they_stand(parts, asked)
        told = [{**_shown(now), "was": was.standing} for was, now in zip(before, after, strict=True)]
        return {"sessions": told, "open": parts.open()}

    async def _show(self, arguments: Arguments, author: str) -> Json:
        parts = self._parts
        (asked,) = await _asked(parts, {**arguments, "lsids": [arguments.get("lsid")]})
        await self._log("look", author, f"session {asked.lsid} of {asked.appliance}")
        found = await _in_turn(lambda: preview(parts, asked))
        if found is None:
            raise ConfigError(1022, f"the appliance {asked.appliance} has no session {asked.lsid}")
        (stands,) = await how_they_stand(parts, [asked])
        return {**_shown(stands), **page(found)}


async def _in_turn(ask: Callable[[], Awaitable[Json]]) -> Json:
    """What the appliance answers, when its limits let the question through soon."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await ask()
        except ApplianceError as error:
            if error.after is None or asyncio.get_running_loop().time() + error.after > until:
                raise
            await asyncio.sleep(error.after)


async def _asked(parts: Parts, arguments: Arguments) -> list[Asked]:
    """The sessions of a request, each with its appliance.

    Raises:
        ConfigError: BSR-1022, they are no sessions, or nobody can tell of which appliance one is.

    """
    lsids = arguments.get("lsids")
    if not isinstance(lsids, list) or len(lsids) > MOST or not all(_is_lsid(one) for one in lsids):
        raise ConfigError(1022, f"'lsids' must be a list of at most {MOST} session ids")
    if arguments.get("appliance") is not None or len(parts.importing) < 2:  # noqa: PLR2004  # several
        appliance = _appliance(parts, arguments)
        return [Asked(appliance, lsid) for lsid in lsids]
    return [await _known(parts, lsid) for lsid in lsids]


async def _known(parts: Parts, lsid: str) -> Asked:
    """The session of the one appliance of which this relay has heard of it."""
    asked = [Asked(appliance, lsid) for appliance in parts.importing]
    found = [one.asked for one in await how_they_stand(parts, asked) if one.standing != "unknown"]
    if len(found) != 1:
        names = ", ".join(parts.importing)
        raise ConfigError(1022, f"session {lsid}: say of which appliance with --appliance: {names}")
    return found[0]


def _appliance(parts: Parts, arguments: Arguments) -> str:
    """The appliance that is meant; its sessions are imported."""
    name, names = arguments.get("appliance"), parts.importing
    if not names:
        raise ConfigError(1022, "no appliance's sessions are imported; see sessions.mode in the configuration")
    if name is None and len(names) > 1:
        raise ConfigError(1022, f"say which appliance with --appliance: {', '.join(names)}")
    if name is not None and name not in parts.importing:
        raise ConfigError(1022, f"sessions are imported of {', '.join(names)}, and of no other appliance")
    return names[0] if name is None else str(name)


def _wish(arguments: Arguments) -> Wish:
    return Wish(named=arguments.get("named") is True, anew=arguments.get("anew") is True)


def _is_lsid(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_LSID and value.isprintable()


def _number(arguments: Arguments, name: str) -> int:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LATEST:
        raise ConfigError(1022, f"'{name}' must be a number of seconds")
    return value


def _shown(one: Stands) -> dict[str, Json]:
    known = REGISTRY.get(one.code) if one.code is not None else None
    return {
        "lsid": one.asked.lsid,
        "appliance": one.asked.appliance,
        "job": one.asked.job,
        "standing": one.standing,
        "code": known.name if known else None,
        "cause": known.cause if known else None,
        "fix": known.fix if known else None,
    }
