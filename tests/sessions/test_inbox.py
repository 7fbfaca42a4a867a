"""What becomes of a post."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, loaded
from support.sessionflow import World, in_world

from relay.core.errors import ListenerError, StorageError
from relay.core.posts import Post
from relay.jobs.ledger import Move
from relay.sessions.inbox import SessionInbox, modes_of


@in_world(sweep=0)
async def test_an_event_is_taken_once(world: World) -> None:
    """A repetition is recognised, in any case of its lsid, also after the session came home."""
    lsid = world.session(0xAB)
    life = world.life()
    assert await life.inbox.put(world.post(lsid))
    assert not await life.inbox.put(world.post(lsid.upper()))
    await life.run(60)
    assert world.state(lsid) == "DONE"
    assert not await life.inbox.put(world.post(lsid))
    await life.run(60)
    assert world.records.notes_of(lsid) == 1
    await life.stop()


@in_world(sweep=0)
async def test_the_event_of_the_end_is_not_waited_out(world: World) -> None:
    """A session that was found while it ran is looked for at once when its end is told."""
    lsid = world.session(1, ends_in=10_000)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(10_010)
    assert world.state(lsid) == "NOTICED"
    assert not await life.inbox.put(world.post(lsid))
    await life.run(10)
    assert world.state(lsid) == "DONE"
    await life.stop()


@in_world()
async def test_other_events_need_no_job(world: World) -> None:
    """They are answered like all others, since the appliance sends nothing after one that is not."""
    life = world.life()
    assert await life.inbox.put(world.post(f"{1:032x}", fields={"event": "support_conference_begin", "lsid": "a"}))
    assert not world.store.jobs


@in_world(sweep=100_000)
async def test_an_event_without_an_lsid_is_kept_and_its_session_found(world: World) -> None:
    """An administrator sees it, and the sweep looks at once; to try it again makes nothing of it."""
    life = world.life()
    await life.run(10)
    lsid = world.session(1)
    post = world.post("", id="one")
    assert await life.inbox.put(post)
    assert not await life.inbox.put(post)
    await life.run(60)
    kept = world.store.jobs["one"]
    assert (kept.job.state, kept.job.data["code"]) == ("DEAD", 6004)
    assert kept.bodies == {"post": b'{"event": "access_session_end", "lsid": ""}'}
    assert world.state(lsid) == "DONE"

    await life.ledger.step(Move(kept.job, "retried"))
    await life.run(60)
    assert world.store.jobs["one"].job.state == "DEAD"
    assert world.store.jobs["one"].job.data["code"] == 6004
    await life.stop()


@in_world(sweep=0)
async def test_a_post_that_cannot_be_read_is_kept(world: World) -> None:
    """With its code and its bytes, encrypted as every body."""
    life = world.life()
    assert await life.inbox.put(world.post("", id="bad", fields={}, code=6005, detail="too large", raw=b"x=%"))
    await life.run(1)
    kept = world.store.jobs["bad"]
    assert (kept.job.state, kept.job.data["code"], kept.job.data["detail"]) == ("DEAD", 6005, "too large")
    assert kept.bodies == {"post": b"x=%"}
    await life.stop()


@in_world()
async def test_a_post_that_cannot_be_stored_is_not_taken(world: World) -> None:
    """The appliance hears that it shall post again."""
    life = world.life()
    world.spoil_disk("add", 1)
    with pytest.raises(StorageError):
        await life.inbox.put(world.post(f"{1:032x}"))
    assert await life.inbox.put(world.post(f"{1:032x}"))


@in_world()
async def test_requests_for_approval_go_where_they_are_decided(world: World) -> None:
    """Without anybody who decides them they are refused; nothing of them is stored."""
    life = world.life()
    request = world.post("", kind="approval", path="/approvals")
    with pytest.raises(ListenerError) as caught:
        await life.inbox.put(request)
    assert caught.value.number == 6008
    taken: list[Post] = []

    class Desk:
        async def put(self, post: Post) -> bool:
            taken.append(post)
            return True

    inbox = SessionInbox(life.ledger, life.store, life.sweep.wake, Desk())
    assert await inbox.put(request)
    assert taken == [request]
    assert not world.store.jobs


@in_world(sweep=0)
async def test_an_event_that_crosses_the_end_of_the_job_changes_nothing(world: World) -> None:
    """The memory of a finished session is enough to know its event."""
    lsid = world.session(1)
    life = world.life()
    await life.inbox.put(world.post(lsid))
    await life.run(60)
    await world.store.sweep("session", ["DONE"], world.clock.wall(), 0.0, 10)
    assert not world.store.jobs
    assert not await life.inbox.put(world.post(lsid))
    assert not world.store.jobs
    await life.stop()


def test_what_becomes_of_events_is_configured_for_each_appliance(tmp_path: Path) -> None:
    """An appliance's own section goes before the common one, also while it is disabled."""
    text = f"""{SMALLEST}
  support:
    product: rs
    enabled: false
    url: https://support.example.com
    auth: {{client_id: abc, client_secret: {{credential: appliance_secret}}}}
    sessions: {{mode: forward}}
sessions: {{mode: both}}
"""
    assert modes_of(loaded(tmp_path, text).settings) == {"default": "both", "support": "forward"}
