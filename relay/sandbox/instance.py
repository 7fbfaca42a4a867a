"""The state of the ServiceNow stand-in, and what its APIs do with it."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from relay.sandbox import journal
from relay.sandbox.access import Access, RateLimit, User
from relay.sandbox.behave import Behaviour
from relay.sandbox.faults import Faults
from relay.sandbox.rows import Row, Tables
from relay.sandbox.rules import Rules
from relay.sandbox.vendor import Vendor
from relay.sandbox.web import Request

RIVAL = "rival"
"""The user that another poller of the same agent acts as."""


@dataclass(slots=True)
class Knobs:
    """How the instance behaves all the time.

    Attributes:
        latency: seconds each request takes on its way, in parallel for all.
        write_cost: seconds each write takes within its session's transaction; counts towards a batch's quota.
        read_cost: the same for reads.
        clock_offset: seconds that the instance's clock is ahead of ours.
        keep_sys_id: an insert keeps the sys_id it wishes for.
        batch_quota: seconds after which the rest of a batch is not served.
        shuffle: a batch is served, and answered, in any order.
        invalid_query_returns_no_rows: glide.invalid_query.returns_no_rows.
        rival: another poller of the same agent takes the first `rival_count` rows of every poll right after it was
            answered, or answers them too.
        pack: answers are compressed for those who accept it.
        journal: what becomes of a look at `sys_journal_field` by who is no administrator: `readable`, `hidden` (an
            access rule of its rows: nothing is found) or `forbidden` (403).
        largest_attachment: bytes, com.glide.attachment.max_size.
        journal_insert: an insert into `sys_journal_field` itself is allowed.
        closed: what becomes of a look at further tables by who is no administrator: `hidden` or `forbidden`, by table.

    """

    latency: float = 0.0
    write_cost: float = 0.0
    read_cost: float = 0.0
    clock_offset: float = 0.0
    keep_sys_id: bool = True
    batch_quota: float = 30.0
    shuffle: bool = True
    invalid_query_returns_no_rows: bool = False
    rival: Literal["off", "claims", "answers"] = "off"
    rival_count: int = 1
    pack: bool = True
    journal: Literal["readable", "hidden", "forbidden"] = "readable"
    journal_insert: bool = True
    largest_attachment: int = 1 << 30
    closed: dict[str, Literal["hidden", "forbidden"]] = field(default_factory=dict)


class Instance:
    """An instance's state.

    Attributes:
        knobs: how it behaves all the time.
        tables: its rows.
        access: users, OAuth applications, sessions.
        rules: business rules of the queue.
        vendor: the endpoints of the vendor's application.
        rate: the rate limit.
        faults: what it was told to do wrong now and then.
        asked: when each output was inserted, monotonic seconds, by its sys_id.
        answered: when each output had its first answer, likewise.
        files: contents of attachments by sys_id; of a large one only its row tells, with `size_bytes` and `hash`.
        hidden: sys_ids that access rules hide.
        requests: HTTP requests by lane, and `all`; a batch counts once in each of its lanes.
        served: requests by lane where each part of a batch counts.
        log: method, path and status of the last requests.
        url: the origin, once it listens.

    """

    def __init__(self, seed: int = 0) -> None:
        self.knobs = Knobs()
        self.tables = Tables(self.now)
        self.access = Access(self.now)
        self.rules = Rules()
        self.vendor = Vendor()
        self.rate = RateLimit()
        self.faults = Faults()
        self.behaviour = Behaviour()
        self.random = random.Random(seed)  # noqa: S311 - the order of answers is no secret
        self.files: dict[str, bytes] = {}
        self.asked: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.hidden: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.log: deque[tuple[str, str, int]] = deque(maxlen=10_000)
        self.url = ""

    def now(self) -> float:
        """The instance's clock."""
        return time.time() + self.knobs.clock_offset

    def count(self, request: Request) -> None:
        """Count a request, or a part of a batch, by its lanes; a batch itself is only `batch` here."""
        self.served.update({"batch"} if "batch" in request.lanes else request.lanes)

    def insert(self, table: str, values: Mapping[str, str], user: str = "system") -> Row:
        """Insert a row and run the business rules.

        Raises:
            Duplicate: the sys_id is taken.
            KeyError: no such table.

        """
        values, entries = journal.take(self.tables, table, values)
        row = self.tables.insert(table, values, user)
        journal.write(self.tables, table, row, entries, user)
        if table == "ecc_queue":
            self._moment(row)
            self.rules.inserted(self.tables, row)
        return row

    def update(self, table: str, row: Row, values: Mapping[str, str], user: str = "system") -> bool:
        """Change a row; False when nothing changed."""
        values, entries = journal.take(self.tables, table, values)
        changed = self.tables.update(table, row, values, user)
        journal.write(self.tables, table, row, entries, user)
        if entries and not changed:
            self.tables.touch(row, user)
        if table == "ecc_queue":
            self._moment(row)
        return changed or bool(entries)

    def _moment(self, row: Row) -> None:
        if row["queue"] == "output":
            self.asked.setdefault(row["sys_id"], time.monotonic())
        elif row["response_to"]:
            self.answered.setdefault(row["response_to"], time.monotonic())

    def visible(self, table: str, row: Row, user: User) -> bool:
        """Whether access rules and the user's domain let the user see the row."""
        domain = row.get("sys_domain", "global")
        roles = self.tables.tables[table].roles
        closed = self.knobs.journal if table == journal.TABLE else self.knobs.closed.get(table)
        if closed == "hidden" and "admin" not in user.roles:
            return False
        return (
            row["sys_id"] not in self.hidden
            and (not roles or bool(roles & user.roles))
            and (user.domain in {"global", domain} or domain == "global")
        )

    def allows(self, table: str, method: str, user: User) -> bool:
        """Whether the user may do this with the table at all."""
        roles = self.tables.tables[table].roles
        if self.knobs.closed.get(table) == "forbidden" and "admin" not in user.roles:
            return False
        if table != journal.TABLE or "admin" in user.roles:
            return not roles or bool(roles & user.roles)
        return self.knobs.journal_insert if method == "POST" else self.knobs.journal != "forbidden"

    def foreign_rows(self, count: int) -> list[Row]:
        """Rows of another agent, which nobody asked for; they are in the table."""
        values = {"agent": "mid.server.somebody-else", "topic": "Command", "name": "rm -rf /"}
        return [self.tables.insert("ecc_queue", values, "admin") for _ in range(count)]

    def polled(self, request: Request, page: Sequence[Row]) -> None:
        """A poll was answered with these rows; the rival acts now."""
        if self.knobs.rival == "off" or "poll" not in request.lanes:
            return
        for row in page[: self.knobs.rival_count]:
            self.tables.update("ecc_queue", row, {"state": "processing"}, RIVAL)
            if self.knobs.rival == "answers":
                same = {name: row[name] for name in ("agent", "topic", "name", "source", "agent_correlator")}
                payload = '<results probe_time="1"><result><output>rival</output></result><parameters/></results>'
                answer = {"queue": "input", "state": "ready", "response_to": row["sys_id"], "payload": payload}
                self.insert("ecc_queue", {**same, **answer}, RIVAL)

    def set_back(self, sys_ids: Sequence[str], state: str = "ready") -> None:
        """Set outputs back to `ready`, as an administrator does."""
        for sys_id in sys_ids:
            row = self.tables.get("ecc_queue", sys_id)
            if row is not None:
                self.tables.update("ecc_queue", row, {"state": state}, "admin")
