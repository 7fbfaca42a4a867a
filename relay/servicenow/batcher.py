"""Sends changes in batches of a size that adapts to the instance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from relay.core.batching import BatchSize
from relay.core.errors import ServiceNowError
from relay.servicenow.batch import FRAME, LONGEST, Part, decode, encode, encoded_size
from relay.servicenow.calls import Call
from relay.servicenow.session import Lane

log = structlog.get_logger("relay.servicenow")

_ENVELOPE: Final = frozenset({2006, 2015, 2016})
"""Errors of a whole batch that say nothing about its parts: the API is missing or forbidden, or the batch too large."""


class Batcher:
    """Sends calls by the Batch API, a single one as a plain request. Its size is shared by all lanes.

    Args:
        most: how many calls a batch holds at most.

    """

    def __init__(self, most: int) -> None:
        self._size = BatchSize(most)

    def size(self, *, urgent: bool) -> int:
        """How many calls the next batch should hold at most."""
        return self._size.now(urgent=urgent)

    async def run(self, lane: Lane, calls: Sequence[Call]) -> list[Part]:
        """What became of each call, in order."""
        groups = split(calls, self._size.now(urgent=False))
        results = await asyncio.gather(*(self._group(lane, group) for group in groups))
        return list(itertools.chain.from_iterable(results))

    async def _group(self, lane: Lane, calls: Sequence[Call]) -> list[Part]:
        if len(calls) == 1:
            return [await _alone(lane, calls[0])]
        try:
            served = decode(len(calls), await lane.value(encode(calls)))
        except ServiceNowError as error:
            self._size = self._size.trouble()
            log.info("servicenow.batch_failed", calls=len(calls), code=error.code, size=self._size.size)
            if error.number in _ENVELOPE:
                return [await _alone(lane, call) for call in calls]
            return [error] * len(calls)
        self._size = self._size.served(len(calls), served.seconds) if served.whole else self._size.trouble()
        log.debug("servicenow.batch", calls=len(calls), seconds=round(served.seconds, 3), size=self._size.size)
        return served.parts


async def _alone(lane: Lane, call: Call) -> Part:
    try:
        return await lane.value(call)
    except ServiceNowError as error:
        return error


def split(calls: Sequence[Call], most: int) -> Iterator[list[Call]]:
    """Groups of at most `most` calls and, unless a single call is larger, of at most `LONGEST` bytes encoded."""
    group: list[Call] = []
    size = FRAME
    for call in calls:
        more = encoded_size(call)
        if group and (len(group) >= most or size + more > LONGEST):
            yield group
            group, size = [], FRAME
        group.append(call)
        size += more
    if group:
        yield group
