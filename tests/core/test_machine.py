"""State tables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay.core.machine import ImpossibleTransition, StateTable
from relay.core.queue import QUEUE

TABLE = StateTable("door", "shut", {"shut": {"open": "ajar"}, "ajar": {"shut": "shut", "burn": "ash"}, "ash": {}})
EVENTS = sorted({event for row in QUEUE.rows.values() for event in row} | {"", "no such event", "Claimed"})


def test_a_table_knows_its_states_and_its_ends() -> None:
    """The states are the rows, the final ones those with an empty row."""
    assert TABLE.states == {"shut", "ajar", "ash"}
    assert TABLE.final == {"ash"}
    assert TABLE.advance("shut", "open") == "ajar"


@pytest.mark.parametrize(("state", "event"), [("shut", "burn"), ("ash", "open"), ("nowhere", "open")])
def test_what_is_not_in_the_table_does_not_happen(state: str, event: str) -> None:
    """An event that a state does not have raises, naming both."""
    with pytest.raises(ImpossibleTransition, match=f"door: no '{event}' in state '{state}'"):
        TABLE.advance(state, event)


def test_the_queues_table_is_closed_and_leads_to_an_end() -> None:
    """Every target is a state, every state is reached from the start, and an end is reached from every state."""
    targets = {state: set(row.values()) for state, row in QUEUE.rows.items()}
    assert {target for row in targets.values() for target in row} <= QUEUE.states
    starts = {"SEEN", "UNCERTAIN"}  # an orphan begins as UNCERTAIN
    reached = set(starts)
    while more := {target for state in reached for target in targets[state]} - reached:
        reached |= more
    assert reached == QUEUE.states
    ending = set(QUEUE.final)
    while more := {state for state, row in targets.items() if row & ending} - ending:
        ending |= more
    assert ending == QUEUE.states
    assert QUEUE.final == {"CLOSED", "DROPPED"}
    assert QUEUE.initial == "SEEN"


class QueueLife(RuleBasedStateMachine):
    """Random events against a model: a set of allowed (state, event, target) triples written down by hand."""

    MODEL = frozenset(
        {
            ("SEEN", "CLAIMED"),
            ("SEEN", "SEEN"),
            ("SEEN", "DROPPED"),
            ("SEEN", "INSERTED"),
            ("CLAIMED", "ANSWERED"),
            ("CLAIMED", "CLAIMED"),
            ("CLAIMED", "FORWARDING"),
            ("CLAIMED", "DROPPED"),
            ("CLAIMED", "INSERTED"),
            ("FORWARDING", "ANSWERED"),
            ("FORWARDING", "CLAIMED"),
            ("FORWARDING", "UNCERTAIN"),
            ("UNCERTAIN", "CLAIMED"),
            ("UNCERTAIN", "ANSWERED"),
            ("UNCERTAIN", "INSERTED"),
            ("UNCERTAIN", "DROPPED"),
            ("UNCERTAIN", "CLOSED"),
            ("UNCERTAIN", "UNCERTAIN"),
            ("ANSWERED", "INSERTED"),
            ("ANSWERED", "VERIFYING"),
            ("ANSWERED", "ANSWERED"),
            ("ANSWERED", "DEAD"),
            ("VERIFYING", "INSERTED"),
            ("VERIFYING", "ANSWERED"),
            ("VERIFYING", "VERIFYING"),
            ("INSERTED", "CLOSED"),
            ("INSERTED", "INSERTED"),
            ("DEAD", "ANSWERED"),
            ("DEAD", "CLOSED"),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.state = QUEUE.initial
        self.calls = 0
        self.answered = False

    @initialize(orphan=st.booleans())
    def start(self, orphan: bool) -> None:
        self.state = "UNCERTAIN" if orphan else QUEUE.initial

    @rule(event=st.sampled_from(EVENTS))
    def happen(self, event: str) -> None:
        if event not in QUEUE.rows[self.state]:
            with pytest.raises(ImpossibleTransition):
                QUEUE.advance(self.state, event)
            return
        after = QUEUE.advance(self.state, event)
        assert (self.state, after) in self.MODEL
        assert not self.answered or after not in {"SEEN", "CLAIMED", "FORWARDING", "UNCERTAIN", "DROPPED"}
        self.answered = self.answered or after == "ANSWERED"
        self.state = after

    @rule(event=st.sampled_from(EVENTS))
    def after_the_end(self, event: str) -> None:
        for final in QUEUE.final:
            with pytest.raises(ImpossibleTransition):
                QUEUE.advance(final, event)

    @invariant()
    def known(self) -> None:
        assert self.state in QUEUE.states


QueueLife.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestQueueLife(QueueLife.TestCase):  # type: ignore[name-defined,misc]
    """What is not in the table raises, finals are final, and no event leads back from an answer to a call."""


@given(st.text(), st.text())
def test_no_foreign_word_moves_a_job(state: str, event: str) -> None:
    """A state or an event that is no word of the table raises, whatever it is."""
    if event not in QUEUE.rows.get(state, {}):
        with pytest.raises(ImpossibleTransition):
            QUEUE.advance(state, event)
