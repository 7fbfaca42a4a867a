"""What passes between the pipeline and the ServiceNow side, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.core.record import Record, Work


@dataclass(frozen=True, slots=True)
class Page:
    """One poll's outcome: records of ours that are `ready`, checked one by one.

    `more`: the instance may have further rows. `bare` are records whose payload was too large to be read: their
    `payload` is "". `foreign` counts rows that were returned but did not match what was asked for.
    """

    records: tuple[Record, ...]
    more: bool
    bare: tuple[Record, ...] = ()
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The row is ours; `record` is what the claiming request itself answered, complete with payload."""

    record: Record


@dataclass(frozen=True, slots=True)
class Taken:
    """The row is gone, or is not ours (any more); `reason` in a few words."""

    reason: str


@dataclass(frozen=True, slots=True)
class NewInput:
    """An answer to be inserted. `sys_id` is the one we wish for, the instance may choose another."""

    output_sys_id: str
    sys_id: str
    topic: str
    name: str = field(repr=False)
    source: str = field(repr=False)
    agent_correlator: str
    payload: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inserted:
    """ServiceNow has the input.

    `kept`: under the sys_id that we wished for. `created_by`: the user whom the answer to our own insert names; "" when
    it names none.
    """

    sys_id: str
    kept: bool
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The request took effect."""


@dataclass(frozen=True, slots=True)
class FoundInput:
    """An answer that ServiceNow holds for one of our outputs."""

    sys_id: str
    output_sys_id: str
    created_by: str
    state: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a record asks for: the work, and the parameters to echo (secrets already left out).

    `signature`: the record's `relay_signature` as it stands there; None when it has none.
    """

    work: Work
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    signature: str | None = field(default=None, repr=False)
