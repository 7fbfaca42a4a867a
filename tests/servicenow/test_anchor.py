"""Checkpoints of the audit log as records of a ServiceNow table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.ecc_table import FakeInstance, answer
from support.server import RESET

from relay.core.checkpoint import Checkpoint, Note, Signature, parse_note
from relay.core.errors import ServiceNowError

PATH = "/api/now/table/u_relay_checkpoint"
CHECKPOINT = Checkpoint("bseries-relay/relay01", 7, b"\x07" * 32)
NOTE = Note(CHECKPOINT, (Signature("bseries-relay/relay01", b"keyi", b"s" * 64),))


@pytest.fixture
async def anchor(connect: Any, fake: FakeInstance) -> Any:
    fake.tables["u_relay_checkpoint"] = {}
    async with connect(fake) as (instance, _):
        yield instance.anchor("u_relay_checkpoint", "u_checkpoint")


async def test_a_checkpoint_is_a_record(anchor: Any, fake: FakeInstance) -> None:
    """The column holds the whole note, as `audit verify --checkpoint` reads it."""
    await anchor.write(NOTE)
    (row,) = fake.tables["u_relay_checkpoint"].values()
    assert row["u_checkpoint"] == NOTE.text
    assert parse_note(row["u_checkpoint"]) == NOTE


async def test_line_feeds_that_the_instance_changes_are_no_loss(anchor: Any, fake: FakeInstance) -> None:
    """An instance that answers with other line ends, or without the last, has stored the note."""
    for text in (NOTE.text.rstrip("\n"), NOTE.text.replace("\n", "\r\n")):
        fake.next("POST", PATH, answer(201, {"result": {"sys_id": "a" * 32, "u_checkpoint": text}}))
        await anchor.write(NOTE)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(201, {"result": {"sys_id": "a" * 32, "u_checkpoint": NOTE.text[:40]}}), "BSR-2006"),
        (answer(201, {"result": {"sys_id": "a" * 32}}), "BSR-2006"),
        (answer(201, {"result": {"u_checkpoint": NOTE.text}}), "BSR-2011"),
        (answer(403, {"error": {"message": "no"}}), "BSR-2006"),
        (RESET, "BSR-2004"),
    ],
)
async def test_a_checkpoint_that_was_not_stored_is_told(anchor: Any, fake: FakeInstance, reply: Any, code: str) -> None:
    """A column that is too short or missing, a lacking right and a broken connection are BSR-2026 with the reason."""
    fake.next("POST", PATH, reply)
    with pytest.raises(ServiceNowError) as error:
        await anchor.write(NOTE)
    assert error.value.number == 2026
    assert code in error.value.text


async def test_only_the_checkpoint_leaves(anchor: Any, fake: FakeInstance) -> None:
    """The request holds the note and nothing else."""
    sent: list[Any] = []
    fake.next("POST", PATH, lambda request: (sent.append(json.loads(request.body)), fake(request))[1])
    await anchor.write(NOTE)
    assert sent == [{"u_checkpoint": NOTE.text}]
