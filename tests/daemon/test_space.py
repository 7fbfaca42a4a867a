"""A disk that fills up keeps what is left for the work that was taken before."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.living import QUICK, living

from relay.core.space import KEEPSAKES, RESERVE
from relay.daemon import session_flow
from relay.daemon.space import Space
from relay.jobs.conditions import Conditions
from relay.sandbox.lifelike import Lives, Script


async def test_events_and_reports_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little room: events are taken, reports are not fetched, and health says so. None: events are refused."""
    free = {"bytes": KEEPSAKES - 1}

    def space(folder: Path, conditions: Conditions) -> Space:
        def told(_: Path) -> int:
            if not free["bytes"]:
                raise OSError
            return free["bytes"]

        return Space(folder, conditions, told)

    monkeypatch.setattr(session_flow, "Space", space)
    async with living(tmp_path, listens=True, drop_in=f"{QUICK}sessions: {{sweep: 1s}}\n") as made:
        lives, posts = Lives(made.box.appliance), made.box.appliance.outbound
        lives.end(lives.begin(Script()))
        await made.until(lambda: {one.state for one in posts.messages} == {"delivered"})
        await made.until(lambda: made.codes().get("disk for reports") == "BSR-5004")
        free["bytes"] = 0
        lives.end(lives.begin(Script()))
        await made.until(lambda: any(503 in one.answers for one in posts.messages))
        assert posts.messages[-1].state == "queued"
        assert made.steps("session", "fetched") == 0
        free["bytes"] = KEEPSAKES + RESERVE
        made.supervisor.app.running.look_again()  # type: ignore[union-attr]
        await made.until(lambda: made.steps("session", "kept") == 2)
        assert "disk for reports" not in made.codes()
