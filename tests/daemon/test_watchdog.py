"""Proof of life: who feeds the watchdog, and when it starves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.living import Manager, living

from relay.daemon import beside, watchdog
from relay.host.clock import Clock
from relay.jobs.beats import Beats
from relay.pipeline import poll
from relay.pipeline.poll import Poll


async def test_a_stuck_loop_starves_the_watchdog_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """When the poll hangs beyond its time the watchdog gets nothing any more, and the log names the loop."""
    hangs = asyncio.Event()

    async def stuck(_: Poll) -> float:
        await hangs.wait()
        await asyncio.sleep(0.01)
        return 0.0

    monkeypatch.setattr(Poll, "_round", stuck)
    monkeypatch.setattr(poll, "ROUND", -119.8)  # the poll promises to be heard of within 0.2 s
    async with living(tmp_path) as made:
        manager = made.manager
        process = replace(made.process, environ={"WATCHDOG_USEC": "30000"})
        feeding = asyncio.create_task(watchdog.feed(process, lambda: made.supervisor.app.beats, lambda: "fine"))
        await made.until(lambda: manager.count("watchdog"))
        await made.until(lambda: "poll" in made.supervisor.app.beats.late())
        await made.until(lambda: "poll" in _out(capfd))
        fed = manager.count("watchdog")
        await asyncio.sleep(0.1)
        assert manager.count("watchdog") == fed
        feeding.cancel()
        hangs.set()


_seen: list[str] = []


def _out(capfd: pytest.CaptureFixture[str]) -> str:
    """The lines about a stuck loop so far."""
    _seen.extend(line for line in "".join(capfd.readouterr()).splitlines() if "daemon.stuck" in line)
    return "".join(_seen)


async def test_without_a_watchdog_the_status_is_still_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody watches, a status that changed is told once and the watchdog never."""
    monkeypatch.setattr(watchdog, "OFTEN", 0.01)
    async with living(tmp_path, start=False) as made:
        manager = Manager()
        process = replace(made.process, notifier=manager)
        texts = iter(["one", "one", "two"])
        feeding = asyncio.create_task(watchdog.feed(process, lambda: Beats(Clock()), lambda: next(texts, "two")))
        await made.until(lambda: manager.count("status") >= 2)
        feeding.cancel()
        assert manager.told == ["status one", "status two"]


async def test_a_part_that_fails_is_not_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    """A fault in a part beside the work is logged with the part's name; the others go on until the end."""
    ended = asyncio.Event()

    async def broken() -> None:
        raise RuntimeError

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with beside.beside(broken=broken(), long=long()):
        for _ in range(3):
            await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()
    shown = "".join(capfd.readouterr())
    assert "daemon.part_failed" in shown
    assert "broken" in shown
