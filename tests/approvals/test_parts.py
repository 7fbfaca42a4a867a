"""What is kept in memory is bounded, and the store is the truth."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from support.approvalflow import World, asked, found, in_world, task

from relay.approvals.cache import MOST, Cache, Moment
from relay.approvals.parts import KEPT, LARGE, Requests, request_of_job
from relay.core.errors import InternalError


def at(seconds: float) -> Moment:
    """A moment by both clocks."""
    return seconds, 5_000.0 + seconds


def test_the_oldest_answers_are_forgotten() -> None:
    """When there are too many."""
    cache, findings = Cache(), found(task())
    for number in range(MOST + 1):
        cache.put(asked(ticket_id=f"CHG{number}"), findings, at(0.0))
    assert cache.get(asked(ticket_id="CHG0"), at(1.0), 5.0) is None
    assert cache.get(asked(ticket_id="CHG1"), at(1.0), 5.0) is findings


def test_an_answer_ages() -> None:
    """Its clock goes on, and after its time it is nothing; the id of a request does not matter, all else does."""
    cache = Cache()
    cache.put(asked(), found(task(), now=1000.0), at(10.0))
    known = cache.get(asked(request_id="r2"), at(14.0), 5.0)
    assert known is not None
    assert known.now == 1004.0
    assert cache.get(asked(), at(15.0), 5.0) is None
    assert cache.get(asked(), at(9.0), 5.0) is None
    assert cache.get(asked(jump_item__computer_name="db01"), at(11.0), 5.0) is None
    assert cache.get(asked(jump_item__tag="x"), at(11.0), 5.0) is None
    assert cache.get(asked(), at(10.0), 0.0) is None


def test_an_answer_does_not_outlive_a_sleep() -> None:
    """While the machine sleeps only the other clock goes on; and one that was set back tells nothing."""
    cache = Cache()
    cache.put(asked(), found(task(), now=1000.0), (10.0, 5000.0))
    assert cache.get(asked(), (11.0, 8600.0), 60.0) is None
    assert cache.get(asked(), (11.0, 4000.0), 60.0) is None
    known = cache.get(asked(), (11.0, 5003.0), 60.0)
    assert known is not None
    assert known.now == 1003.0


def test_the_oldest_requests_are_forgotten() -> None:
    """They are read back when they are needed."""
    requests, request = Requests(), asked()
    for number in range(KEPT + 1):
        requests.put(f"job {number}", request)
    assert requests.get("job 0") is None
    assert requests.get("job 1") is request
    requests.drop("job 1")
    assert requests.get("job 1") is None


def test_requests_that_are_as_large_as_may_be_take_little() -> None:
    """Whoever may post can fill what is kept in memory, with characters of four bytes each: it stays below 40 MB."""
    requests = Requests()
    request = asked(jump_item__tag="\U0001f600" * (LARGE - asked().size - len("jump_item.tag")))
    requests.put("largest", request)
    requests.put("larger", replace(request, fields={**request.fields, "x": ""}))
    assert requests.get("largest") is not None
    assert requests.get("larger") is None
    assert sum(map(sys.getsizeof, request.fields.values())) * KEPT < 40e6


@in_world()
async def test_a_request_is_read_back(world: World) -> None:
    """As it came; a store without it is a fault."""
    life = world.life()
    await life.inbox.put(world.post())
    life.parts.requests.drop(world.job().id)
    assert (await request_of_job(life.parts, world.job())).ticket_id == "CHG0001"
    life.parts.requests.drop(world.job().id)
    world.store.jobs[world.job().id].bodies.clear()
    with pytest.raises(InternalError):
        await request_of_job(life.parts, world.job())
