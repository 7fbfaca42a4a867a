"""One thread that serves requests in groups: what asks at about the same time shares one trip to the disk.

Why the group is gathered by the event loop: everything asked for in one turn of the loop is handed over together, and
while the thread waits for the disk the next group grows. Nobody waits for company that may not come.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 256
"""Requests of one group. More would make the first one wait long for the last."""


class GroupThread(Generic[Item, Result]):
    """Hands requests to `serve` on a thread of its own, and its results back to the event loop that asked.

    Args:
        name: the thread's name.
        serve: gets at least one request and returns one result for each, in order; an exception in the list is raised
            where the request was made. What `serve` itself raises is raised for every request of the group.
        rest: called on the thread after the results of a group were handed over.

    The thread is a daemon: a process that dies without `close` is not kept alive by it.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._serve = serve
        self._rest = rest
        self._loop = asyncio.get_running_loop()
        self._gathered: list[tuple[Item, asyncio.Future[Result]]] = []
        self._handed: queue.SimpleQueue[list[tuple[Item, asyncio.Future[Result]]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be asked."""
        return self._closed

    async def ask(self, item: Item) -> Result:
        """The result for one request. A caller that is cancelled leaves open whether the request was served."""
        if self._closed:
            msg = "asked after close"
            raise RuntimeError(msg)
        answer: asyncio.Future[Result] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((item, answer))
        return await answer

    async def close(self) -> None:
        """Serve what was asked, then end the thread."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._handed.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._gathered:
            self._handed.put(self._gathered)
            self._gathered = []

    def _run(self) -> None:
        ended = False
        while not ended:
            asked = self._handed.get()
            if asked is None:
                return
            while len(asked) < MOST and not self._handed.empty():
                more = self._handed.get()
                if more is None:
                    ended = True
                    break
                asked = asked + more
            for start in range(0, len(asked), MOST):
                self._serve_group(asked[start : start + MOST])
                self._rest()

    def _serve_group(self, group: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = self._serve([item for item, _ in group])
        except Exception as error:  # noqa: BLE001  # it is raised again where the request was made
            results = [error] * len(group)
        answers = [(answer, result) for (_, answer), result in zip(group, results, strict=True)]
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[asyncio.Future[Result], Result | BaseException]]) -> None:
    for answer, result in answers:
        if answer.done():
            continue
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)
