"""The work behind `bseries-relay sessions import`: ask for sessions, wait for them, tell what became of each.

Everything durable is the running relay's. What is asked here may be asked again at any time, so that a relay that is
started anew in between only takes longer.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from relay.cli.asking import ask_daemon
from relay.cli.output import DONE, FAILED, INTERRUPTED, TRY_AGAIN, data, plain, print_json, print_table, say
from relay.core.jobs import Json
from relay.core.retry import Backoff

DAY: Final = 86_400
LONGEST: Final = 32 * DAY
SHORTEST: Final = 60
FEW: Final = 1_000
"""Sessions in an answer, up to which the next question is for a time twice as long."""
TOO_LARGE: Final = 3008
MOST: Final = 500
"""Sessions in one request to the running relay."""
MOST_BYTES: Final = 40_000
"""Bytes of their ids; a request has 64 KiB."""
LOOK: Final = Backoff(first=0.2, longest=2.0)
"""How long to wait between two looks at what became of them."""
WITHIN: Final = 300.0
"""Seconds for an answer that the relay asks others for."""
PATIENCE: Final = 300.0
"""Seconds without anything new, after which nobody waits any longer who did not say how long."""
AWAY: Final = 60.0
"""Seconds that the relay may be away while it is started anew."""
TELL: Final = 10.0
"""Seconds between two lines about how far it is, where there is no terminal."""
MOST_SHOWN: Final = 1_000
WAITING: Final = ("under way", "running")
OUTCOMES: Final = (
    "imported",
    "already there",
    "left out",
    "given up",
    "still running",
    "on its way",
    "unknown",
    "failed",
)
ALWAYS: Final = ("imported", "already there", "failed")
"""Those that the summary tells of also when there are none."""
_LSID: Final = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)


def lsid(_: click.Context, __: click.Parameter, value: str) -> str:
    """An argument's callback: a session's id."""
    return _read_lsid(value)


def lsids(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """An argument's callback: ids of sessions, each once."""
    return tuple(dict.fromkeys(_read_lsid(one) for one in value))


def _read_lsid(value: str) -> str:
    if _LSID.fullmatch(value) is None:
        raise click.BadParameter(
            f"{value!r} is no session's id: 32 hexadecimal digits, such as {'0123456789abcdef' * 2}"
        )
    return value.lower()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported. `since`, `until`: seconds since the epoch; `wait`: seconds, None: while it goes on."""

    config: Path | None
    lsids: tuple[str, ...]
    appliance: str | None
    since: float | None
    until: float | None
    again: bool
    wait: float | None

    def ask(self, command: str, lsids: Sequence[str], appliance: str | None, *, patience: float = 0.0) -> Json:
        """What the running relay says about these sessions."""
        told = {"lsids": list(lsids), "appliance": appliance, "named": self.since is None, "anew": self.again}
        return ask_daemon(self.config, command, told, patience=patience)


def run(order: Order, *, dry_run: bool, as_json: bool) -> int:
    """Carry it out; returns the exit code."""
    lsids, appliance = order.lsids, order.appliance
    if order.since is not None:
        lsids, appliance = _listed(order)
    command = "sessions standing" if dry_run else "sessions import"
    found: dict[str, Json] = {}
    held = False
    for some in _portions(lsids):
        answer = order.ask(command, some, appliance)
        found |= {one["job"]: one for one in answer["sessions"]}
        held = held or not answer["open"]
    if held:
        say("the relay is paused with --all: sessions wait until 'bseries-relay resume'")
    if dry_run:
        _print_dry(list(found.values()), as_json=as_json)
        return DONE
    return _finish(order, found, as_json=as_json)


def _finish(order: Order, found: dict[str, Json], *, as_json: bool) -> int:
    """Wait, then tell what became of each."""
    interrupted = False
    try:
        _wait(order, found)
    except KeyboardInterrupt:
        interrupted = True
    _print(order, list(found.values()), as_json=as_json)
    waiting = any(one["standing"] in WAITING for one in found.values())
    if waiting:
        say("the relay goes on with what is on its way; the same command tells later how far it is")
    if interrupted:
        return INTERRUPTED
    if any(one["standing"] == "failed" for one in found.values()):
        return FAILED
    return TRY_AGAIN if waiting else DONE


# -- which ones ------------------------------------------------------------------------------------------------------


def _listed(order: Order) -> tuple[tuple[str, ...], str | None]:
    """The sessions that ended in a time, and the appliance's name. Asked for in pieces: an answer has its limits."""
    start, now = int(order.since or 0), time.time()
    end = math.ceil(now if order.until is None else order.until)
    found: dict[str, None] = {}
    appliance, window = order.appliance, DAY
    while True:
        # The last question of an open time ends when the appliance says so: its clock may be ahead of ours.
        last = start + window >= end
        seconds = 0 if last and end >= now else min(window, end - start)
        asked = {"appliance": appliance, "since": start, "seconds": seconds}
        expected = TOO_LARGE if window > SHORTEST else None
        answer = ask_daemon(order.config, "sessions listed", asked, within=WITHIN, expected=expected)
        if answer is None:
            window = max(SHORTEST, window // 4)
            continue
        found |= dict.fromkeys(answer["lsids"])
        appliance = answer["appliance"]
        if last:
            return tuple(found), appliance
        start += window
        if len(answer["lsids"]) < FEW:
            window = min(LONGEST, 2 * window)


def _portions(lsids: Sequence[str]) -> Iterator[list[str]]:
    """The ids in pieces that fit a request."""
    some: list[str] = []
    size = 0
    for lsid in lsids:
        length = len(json.dumps(lsid)) + 2
        if some and (len(some) == MOST or size + length > MOST_BYTES):
            yield some
            some, size = [], 0
        some.append(lsid)
        size += length
    if some:
        yield some


# -- waiting ---------------------------------------------------------------------------------------------------------


def _wait(order: Order, found: dict[str, Json]) -> None:
    """Look again and again until none is on its way, or it takes too long; `found` has the last that is known."""
    waiting = [job for job, one in found.items() if one["standing"] in WAITING]
    begun = moved = time.monotonic()
    looks = 0
    with _progress(len(found)) as tell:
        while waiting:
            tell(len(found) - len(waiting))
            now = time.monotonic()
            left = begun + order.wait - now if order.wait is not None else moved + PATIENCE - now
            if left <= 0:
                return
            looks += 1
            time.sleep(min(LOOK.delay(looks, 1.0), left))  # the control socket answers, it does not tell by itself
            appliance = found[waiting[0]]["appliance"]
            some = next(_portions([found[job]["lsid"] for job in waiting if found[job]["appliance"] == appliance]))
            looked = order.ask("sessions standing", some, appliance, patience=AWAY)["sessions"]
            for one in looked:
                if one["standing"] != found[one["job"]]["standing"]:
                    moved = time.monotonic()
                found[one["job"]] |= {name: value for name, value in one.items() if name != "would"}
            # Those that were looked at go to the end.
            seen = {one["job"] for one in looked}
            waiting = [job for job in waiting if job not in seen] + [
                one["job"] for one in looked if one["standing"] in WAITING
            ]
        tell(len(found))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shows how many are done: a bar on a terminal, else a line now and then."""
    if not (sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"):
        yield _Lines(total).tell
        return
    from rich import progress  # noqa: PLC0415  # only a terminal needs it, and it takes long to import
    from rich.console import Console  # noqa: PLC0415  # as above

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown:
        bar = shown.add_task("sessions", total=total)
        yield lambda done: shown.update(bar, completed=done)


class _Lines:
    """Says how far it is, when there is something new, and not too often."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._said: int | None = None
        self._at = -math.inf

    def tell(self, done: int) -> None:
        """So many are done."""
        now = time.monotonic()
        if done != self._said and (now - self._at >= TELL or done == self._total):
            say(f"{done} of {self._total} sessions done")
            self._said, self._at = done, now


# -- what is told ----------------------------------------------------------------------------------------------------


def _print_dry(sessions: list[Json], *, as_json: bool) -> None:
    if as_json:
        print_json("sessions-import", {"dry_run": True, "sessions": sessions})
        return
    wanted = [one for one in sessions if one["would"]]
    if wanted:
        print_table(
            ("session", "appliance", "now"), [(one["lsid"], one["appliance"], one["standing"]) for one in wanted]
        )
    say(f"{len(wanted)} of {len(sessions)} sessions would be imported; nothing was changed")


def _outcome(one: Json) -> str:
    """What became of a session, as the summary calls it."""
    if one["standing"] == "home":
        return "already there" if one["was"] == "home" else "imported"
    standing = str(one["standing"])
    return {"running": "still running", "under way": "on its way", "discarded": "given up"}.get(standing, standing)


def _print(order: Order, sessions: list[Json], *, as_json: bool) -> None:
    counts = Counter(_outcome(one) for one in sessions)
    if as_json:
        told = [{**one, "outcome": _outcome(one)} for one in sessions]
        numbers = {outcome.replace(" ", "_"): counts[outcome] for outcome in OUTCOMES}
        print_json("sessions-import", {"dry_run": False, "counts": numbers, "sessions": told})
        return
    for outcome in OUTCOMES:
        if counts[outcome] or outcome in ALWAYS:
            data(f"{outcome}: {counts[outcome]}")
    # Of many, those that somebody may want to look at.
    shown = [one for one in sessions if order.since is None or one["standing"] != "home"]
    for one in shown[:MOST_SHOWN]:
        code = f" {one['code']}: {one['cause']}" if one["code"] else ""
        data(plain(f"  {one['lsid']} of {one['appliance']}: {_outcome(one)}{code}"))
        if one["standing"] == "failed":
            data(plain(f"    fix: {one['fix'] or 'see the job'}; 'bseries-relay jobs show {one['job']}' tells more"))
    if len(shown) > MOST_SHOWN:
        say(f"{len(shown) - MOST_SHOWN} more; --json shows all")
