"""The memory of nonces: which job each belongs to, and before which time they were forgotten.

Why the time is kept beside the nonces: how old a signature may be is a setting. After it was raised, or after the
instance's clock was set back, a signature could be young enough again whose nonce was forgotten as too old.
"""

from __future__ import annotations

from sqlite3 import Connection
from typing import Final

from relay.core.jobs import Nonce, Once
from relay.storage.queries import Exchange, change, fact, set_fact
from relay.storage.rows import checked, checksum, text_of

FORGOTTEN: Final = "nonces.forgotten"
"""The fact that holds the time before which nonces were forgotten."""
_KEEP: Final = "INSERT OR REPLACE INTO nonces (nonce, job, time, crc) VALUES (?, ?, ?, ?)"
_OLD: Final = "DELETE FROM nonces WHERE nonce IN (SELECT nonce FROM nonces WHERE time < ? ORDER BY time LIMIT ?)"


def change_once(db: Connection, exchange: Exchange, nonce: Nonce) -> Once:
    """Make a change and the nonce its job's own, in one transaction; nothing is written where one of the two fails."""
    job, time = exchange.before.id, float(nonce.time)
    row = db.execute("SELECT nonce, job, time, crc FROM nonces WHERE nonce = ?", (nonce.text,)).fetchone()
    if row is not None:
        _, owner, known = checked(row, "a nonce")
        if owner != job:
            return "used"
        time = max(time, known)
    elif time < (fact(db, FORGOTTEN) or 0.0):
        return "forgotten"
    if change(db, [exchange]) == [False]:
        return "stale"
    columns = (nonce.text, job, time)
    db.execute(_KEEP, (*columns, checksum(columns)))
    return "done"


def forget(db: Connection, before: float, limit: int) -> int:
    """Delete nonces of times before `before`; the time is kept with it, so that none is accepted again."""
    if before > (fact(db, FORGOTTEN) or 0.0):
        set_fact(db, FORGOTTEN, text_of(before))
    return db.execute(_OLD, (before, limit)).rowcount
