"""ServiceNow's ECC queue as the pipeline sees it: reading and writing, over sessions of their own, under one roof."""

from __future__ import annotations

from collections.abc import Callable

from relay.servicenow.batcher import Batcher
from relay.servicenow.pull import Pull
from relay.servicenow.push import Push
from relay.servicenow.session import Lane


class EccQueue:
    """The queue of one agent. Every method raises nothing but `ServiceNowError`.

    Args:
        agent: `mid.server.<name>`.
        poll: the session that polls.
        claim: those that claim.
        push: those that write answers.
        lookup: the one that asks for everything else.
        most: how many changes a batch holds at most.
        now: the instance's clock.

    """

    def __init__(
        self,
        agent: str,
        *,
        poll: Lane,
        claim: Lane,
        push: Lane,
        lookup: Lane,
        most: int,
        now: Callable[[], float | None],
    ) -> None:
        self._batcher = Batcher(most)
        pull = Pull(agent, poll, claim, lookup, self._batcher)
        written = Push(agent, push, lookup, self._batcher)
        self.now = now
        self.poll = pull.poll
        self.claim = pull.claim
        self.read = pull.read
        self.processing = pull.processing
        self.find = pull.find
        self.fetch_payload = pull.fetch_payload
        self.insert = written.insert
        self.begin_large = written.begin_large
        self.finish_large = written.finish_large
        self.close = written.close

    def batch_size(self, *, urgent: bool) -> int:
        """How many changes the next batch should hold at most; it adapts to the instance."""
        return self._batcher.size(urgent=urgent)
