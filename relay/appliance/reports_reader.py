"""Reads the answers to questions about sessions; a long one in a thread, so that nothing else waits for it.

Why threads of its own, and two: a report takes a core for as long as it is read. A third would take no less time, and
those of the store must be free for what somebody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import structlog

from relay.appliance.reports import NamelessError, read_listing, read_session, read_surveys
from relay.core.session_report import Listed, SessionReport, Survey

log = structlog.get_logger("relay.appliance")

T = TypeVar("T")

LARGE: Final = 256 * 1024
"""Bytes of a document from which a thread reads it; a smaller one takes some milliseconds."""
THREADS: Final = 2


class ReportReader:
    """Reads reports, surveys and listings of all appliances.

    Args:
        nothing: texts of errors that mean "nothing found", in languages that are not known without being told.

    """

    def __init__(self, nothing: Iterable[str] = ()) -> None:
        self._nothing = frozenset(nothing)
        self._workers = ThreadPoolExecutor(THREADS, "reports")  # a thread begins when it is first needed

    async def session(self, document: bytes, lsid: str) -> SessionReport | None:
        """The session that was asked for; None when the appliance says, in whichever language, that there is none.

        Raises:
            ApplianceError: BSR-3009 it cannot be read, BSR-3019 the appliance's words for an error.

        """
        return await self._read(document, partial(read_session, document, lsid, self._nothing))

    async def surveys(self, document: bytes, by: str) -> Sequence[Survey]:
        """Every exit survey of customers or of representatives; none when the appliance says that there is nothing.

        Raises:
            ApplianceError: as `session`.

        """
        return await self._read(document, lambda: list(read_surveys(document, by, self._nothing)))

    async def listing(self, document: bytes) -> Sequence[Listed]:
        """Every line of a listing; none when the appliance says that there is nothing.

        Lines that name no session are left out, which the log says: the others shall not wait for them.

        Raises:
            ApplianceError: as `session`; also when no line names one.

        """
        found: list[Listed] = []
        try:
            await self._read(document, lambda: found.extend(read_listing(document, self._nothing)))
        except NamelessError as error:
            if not found:
                raise
            log.warning("appliance.lines_left_out", code=error.code, error=error.text)
        return found

    def close(self) -> None:
        """Read nothing more. What is being read is read to its end, for nobody."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _read(self, document: bytes, work: Callable[[], T]) -> T:
        if len(document) <= LARGE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)
