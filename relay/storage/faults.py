"""What an error of SQLite means, by its number and never by its text."""

from __future__ import annotations

import sqlite3

from relay.core.errors import InternalError, RelayError, StorageError

_PRIMARY = 0xFF
_SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ: the file ends before a page that it must hold
_CORRUPT_FS = 8458  # SQLITE_IOERR_CORRUPTFS
_MEANING = {
    1: 5002,  # SQLITE_ERROR: our statements are fixed and tested, so that one which fails meets a damaged schema
    3: 5001,  # SQLITE_PERM
    5: 5001,  # SQLITE_BUSY: another program has the file open; the folder's lock keeps relays apart
    6: 5001,  # SQLITE_LOCKED
    8: 5001,  # SQLITE_READONLY
    10: 5005,  # SQLITE_IOERR
    11: 5002,  # SQLITE_CORRUPT
    13: 5004,  # SQLITE_FULL
    14: 5001,  # SQLITE_CANTOPEN
    15: 5001,  # SQLITE_PROTOCOL
    17: 5002,  # SQLITE_SCHEMA: nobody but us changes the schema
    22: 5001,  # SQLITE_NOLFS
    23: 5001,  # SQLITE_AUTH
    24: 5002,  # SQLITE_FORMAT
    26: 5002,  # SQLITE_NOTADB
}
ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What the database raises. The second is Python's, when the text of an error quotes a damaged schema."""
FINAL = frozenset({5002, 5005})
"""After these nothing more is written: it could spread the damage, or build on a write that was lost."""


def meaning(error: Exception) -> RelayError:
    """The error of the registry for one of `ERRORS`. What is neither disk nor file is a fault of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if code is None:
        # raised by Python's module itself; text that is not UTF-8 comes this way
        damaged = isinstance(error, sqlite3.OperationalError | UnicodeDecodeError)
        return StorageError(5002, name) if damaged else InternalError(9001, name)
    if code in {_SHORT_READ, _CORRUPT_FS}:
        return StorageError(5002, name)
    number = _MEANING.get(code & _PRIMARY)
    return InternalError(9001, name) if number is None else StorageError(number, name)
