"""The writer: runs groups of operations on the one connection, each group one commit, each operation by itself.

An operation that fails is rolled back to its savepoint and the others of its group stand. Where the database failed (a
full disk), the whole transaction is undone and the operations are run again one by one, so that what still fits is
stored. A result is handed out only after its commit. After damage or a lost write nothing more is touched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from relay.core.errors import RelayError, StorageError
from relay.storage.faults import ERRORS, FINAL, meaning

Operation = Callable[[sqlite3.Connection], Any]

CHECKPOINT_PAGES = 1000
"""Estimated pages in the write-ahead file after which it is copied into the store."""
_PAGES_A_CHANGE = 6  # the row's page and those of its indexes
_SPARE_PAGES = 256  # free pages kept in the file: they will be needed again
_VACUUM_PAGES = 1024  # of one run, so that housekeeping never stops work for long


class Writer:
    """Serves operations on a connection; used from one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._pages = 0
        self._tidy = False
        self.failure: StorageError | None = None
        """Why nothing is served any more: BSR-5002 or BSR-5005."""

    def serve(self, operations: Sequence[Operation]) -> list[Any]:
        """The result or the error of each operation, durable."""
        if self.failure is not None:
            return [self.failure] * len(operations)
        before = self._db.total_changes
        results = self._together(operations)
        if results is None:
            self._checkpoint("PASSIVE")  # on a full disk this makes room in the write-ahead file
            results = [self._alone(operation) for operation in operations]
        self._pages += (self._db.total_changes - before) * _PAGES_A_CHANGE
        return results

    def tidy_soon(self) -> None:
        """Give free pages back to the disk at the next `rest`."""
        self._tidy = True

    def wrote(self, size: int) -> None:
        """Bytes of a body were written."""
        self._pages += size // 4096

    def rest(self) -> None:
        """What is done while nobody waits: keep the write-ahead file short."""
        if self._tidy:
            self._give_back()
        elif self._pages >= CHECKPOINT_PAGES:
            self._checkpoint("PASSIVE")

    def close(self) -> None:
        """Close the connection; the write-ahead file is copied into the store unless a write was lost."""
        self._db.close()

    def _together(self, operations: Sequence[Operation]) -> list[Any] | None:
        """The results of one transaction; None when it could not be committed, and nothing of it happened."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [self._guarded(operation) for operation in operations]
            self._db.execute("COMMIT")
        except ERRORS as error:
            self._note(meaning(error))
            self._undo()
            return None
        return results

    def _guarded(self, operation: Operation) -> Any:  # noqa: ANN401  # an operation's result
        """One operation between savepoints; an error of the database itself ends the whole transaction."""
        self._db.execute("SAVEPOINT operation")
        try:
            result = operation(self._db)
        except ERRORS:
            raise
        except Exception as error:  # noqa: BLE001  # it is raised again where the operation was asked for
            result = error
            self._db.execute("ROLLBACK TO operation")
        self._db.execute("RELEASE operation")
        return result

    def _alone(self, operation: Operation) -> Any:  # noqa: ANN401  # an operation's result
        if self.failure is not None:
            return self.failure
        result: Any
        try:
            self._db.execute("BEGIN IMMEDIATE")
            result = operation(self._db)
            self._db.execute("COMMIT")
        except ERRORS as error:
            result = self._note(meaning(error))
            self._undo()
        except Exception as error:  # noqa: BLE001  # as above
            result = error
            self._undo()
        return result

    def _undo(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except ERRORS as error:
            self._note(meaning(error))

    def _note(self, error: RelayError) -> RelayError:
        if isinstance(error, StorageError) and error.number in FINAL and self.failure is None:
            self.failure = error
        return error

    def _checkpoint(self, mode: str) -> None:
        """Copy the write-ahead file into the store; a disk too full for that is told to whoever writes next."""
        if self.failure is not None:
            return
        try:
            self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except ERRORS as error:
            self._note(meaning(error))
        else:
            self._pages = 0

    def _give_back(self) -> None:
        """Free pages beyond the spare ones go back to the disk, and the write-ahead file is emptied."""
        self._tidy = False
        if self.failure is not None:
            return
        try:
            ((free,),) = self._db.execute("PRAGMA freelist_count").fetchall()
            pages = min(free - _SPARE_PAGES, _VACUUM_PAGES)
            if pages > 0:
                # a script, since the module steps a statement without columns once, and each step frees one page
                self._db.executescript(f"PRAGMA incremental_vacuum({pages})")
        except ERRORS as error:
            self._note(meaning(error))
        self._checkpoint("TRUNCATE")
