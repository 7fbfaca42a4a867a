"""What the configuration calls a call may change between two tries of it; what may have been made is not made again."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from support.appliances import FakePolicy
from support.pipeline import World, in_world

from relay.core.policy_values import Allowed, Decision
from relay.core.record import HttpCall, TypedCall


class Changed(FakePolicy):
    """The same operations, none of them safe any more; what was refused passes."""

    def decide(self, work: HttpCall | TypedCall) -> Decision:
        """Allow everything, as unsafe."""
        if isinstance(work, HttpCall) and work.url.startswith("denied"):
            work = replace(work, url=work.url.replace("denied", "unsafe", 1))
        ruling = cast("Allowed", super().decide(work))
        return replace(ruling, request=replace(ruling.request, safe=False))


@in_world()
async def test_a_call_that_is_safe_no_longer_is_not_repeated(world: World) -> None:
    """A safe call that may have been made waits for its repeat; a reload makes it unsafe: it is answered as unknown."""
    one = world.queue.output(1, payload="safe default")
    world.appliances.faults["call"].append("done")
    life = world.life()
    await life.until(lambda: bool(world.state(one)) and "unknown" in world.job(one).data)
    await life.crash()
    assert world.state(one) == "CLAIMED"
    world.policy = Changed()
    await world.life().run(60)
    assert world.appliances.executed[one] == 1
    assert "BSR-3010" in world.queue.answer_text(one)


@in_world()
async def test_a_record_that_comes_back_is_audited_anew(world: World) -> None:
    """A call of a record that was given up once has an intent of its own, whatever the log holds of its first life."""
    one = world.queue.output(1, payload="safe default")
    world.appliances.faults["call"].append("429")
    life = world.life()
    await life.until(lambda: bool(world.audit.lines) and world.state(one) == "CLAIMED")
    await life.crash()
    world.queue.write(one, state="processed", by="somebody")
    life = world.life()
    await life.until(lambda: not world.state(one))
    world.queue.write(one, state="ready", payload="unsafe default", by="somebody")
    await life.run(600)
    assert world.queue.answers(one)
    intents = [line for line in world.audit.lines if line["event"] == "intent"]
    assert [(line["attempt"], line["operation"]) for line in intents] == [(1, "safe"), (1, "unsafe")]
