"""The daemon and its audit log: signed, anchored, rotated, and what happens while it cannot be written."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from support.daemon import world
from support.living import QUICK, Living, living, make, write_drop_in

from relay.audit import checkpoints
from relay.audit.keys import KEY_FILE, known_keys
from relay.audit.segment import Segment
from relay.audit.segments import FOLDER
from relay.audit.verify import Report, verify_folder
from relay.core.checkpoint import Note, PublicKey, parse_note
from relay.core.errors import StorageError
from relay.daemon.client import DaemonError
from relay.sandbox.box import Sandbox
from relay.sandbox.schema import table

ANCHORED = QUICK + "audit: {checkpoint_every: 1s, anchor: {table: u_relay_checkpoint, field: u_checkpoint}}\n"
TABLE = "u_relay_checkpoint"


def verified(made: Living, keys: list[PublicKey] | None = None, *notes: Note) -> Report:
    given = {f"{number}": note for number, note in enumerate(notes)}
    return verify_folder(made.state / FOLDER, keys, given)


def anchored(box: Sandbox) -> list[Note]:
    """The checkpoints that ServiceNow has."""
    return [parse_note(row["u_checkpoint"]) for row in box.servicenow.tables.rows(TABLE)]


async def test_the_log_is_signed_from_start_to_stop(tmp_path: Path) -> None:
    """A relay signs its log when it starts and when it has stopped, and everything in it verifies."""
    async with living(tmp_path) as made:
        folder = made.state / FOLDER
        await made.until(lambda: checkpoints.paths(folder))
        made.put(2, ["typed health"])
        await made.answered(2)
        assert verified(made).sound
        await made.stop()
        report = verified(made)
        assert report.sound
        assert report.judgement.verified[-1].size == report.verdict.head.seq
        assert (made.process.folders.key / KEY_FILE).stat().st_mode & 0o777 == 0o600
        (public,) = known_keys(folder)
        assert public.name == f"bseries-relay/{made.supervisor.app.plan.settings.relay.name}"
        # a second life goes on with key and tree
        other = make(made.box)
        other.start()
        await other.working()
        await other.stop()
        assert verified(other, [public], *report.judgement.verified).sound
        assert known_keys(folder) == [public]


async def test_administrators_have_it_signed_and_rotate_the_key(tmp_path: Path) -> None:
    """A checkpoint on demand covers what is in the log; a new key is signed for by the old one, and by name."""
    async with living(tmp_path) as made:
        result = await made.ask("audit checkpoint")
        note = parse_note(result["note"])
        assert (note.size, note.root.hex()) == (result["size"], result["root"])
        (old,) = known_keys(made.state / FOLDER)
        new = PublicKey.parse((await made.ask("audit rotate"))["key"])
        assert known_keys(made.state / FOLDER) == [old, new]
        assert parse_note((await made.ask("audit checkpoint"))["note"]).size > note.size
        await made.stop()
        for key in (old, new):
            assert verified(made, [key], note).sound


async def test_checkpoints_reach_servicenow(tmp_path: Path) -> None:
    """With an anchor each new checkpoint becomes a record; while that fails it is a condition and work goes on."""
    async with Sandbox.start(tmp_path / "box", products=("pra",)) as box:
        write_drop_in(box, ANCHORED)
        made = make(box)
        made.start()
        await made.working()
        await made.until(lambda: made.codes().get("anchor") == "BSR-2026")  # there is no such table
        made.put(1, ["typed health"])
        await made.answered(1)
        box.servicenow.tables.tables[TABLE] = table(TABLE, "u_checkpoint")
        await made.ask("audit checkpoint")  # wakes it
        await made.until(lambda: anchored(box) and "anchor" not in made.codes())
        await made.stop()
        assert verified(made, None, *anchored(box)).sound
        count = len(anchored(box))
        other = make(box)
        other.start()
        await other.working()
        await other.until(lambda: len(anchored(box)) > count)
        await other.stop()
        assert len({note.size for note in anchored(box)}) == len(anchored(box))


async def test_a_missing_key_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """When the signing key is gone that is BSR-5012 in the status; work goes on; a new key ends it."""
    async with living(tmp_path) as made:
        await made.ask("audit checkpoint")
        await made.stop()
        (made.process.folders.key / KEY_FILE).unlink()
        other = make(made.box)
        other.start()
        await other.until(lambda: other.codes().get("checkpoint") == "BSR-5012")
        other.put(1, ["typed health"], seed=5)
        await other.answered(1)
        with pytest.raises(DaemonError) as refused:
            await other.ask("audit checkpoint")
        assert refused.value.number == 5012
        assert "--rotate" in refused.value.fix
        await other.ask("audit rotate")
        assert "checkpoint" not in other.codes()
        await other.stop()
        assert verified(other).sound


async def test_a_log_that_lost_its_end_is_not_continued(tmp_path: Path) -> None:
    """A log from which signed lines were cut off stops work with BSR-5011; moved away, a new one begins."""
    async with living(tmp_path) as made:
        made.put(1, ["typed health"])
        await made.answered(1)
        await made.stop()
        folder = made.state / FOLDER
        log = folder / "000001.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
        other = make(made.box)
        other.start()
        await other.until(lambda: other.codes().get("store") == "BSR-5011")
        await other.stop()
        folder.rename(made.state / "audit-kept")
        third = make(made.box)
        third.start()
        await third.working()
        await third.stop()
        assert verified(third).sound


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
async def test_a_full_audit_disk_stops_calls_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """While the log cannot take the intent nothing is sent, the status says BSR-5007, and the work is done later."""
    async with living(tmp_path) as made:
        await made.ask("audit checkpoint")
        append = Segment.append
        refused: list[bytes] = []

        def full(_: Segment, data: bytes) -> None:
            refused.append(data)
            raise StorageError(5007, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(Segment, "append", full)
            ids = made.put(2, ["typed health", "terminate"])
            await made.until(lambda: made.codes().get("audit") == "BSR-5007")
            status = await made.ask("status")
            assert status["state"] == "degraded"
            assert "audit" in {one["subject"] for one in status["conditions"]}
            before = made.box.appliance.calls.total()
            await asyncio.sleep(0.3)
            assert made.box.appliance.calls.total() == before
            assert not any(row["response_to"] in ids for row in made.box.servicenow.tables.rows("ecc_queue"))
            assert refused
        assert Segment.append is append
        await made.answered(2)
        await made.until(lambda: "audit" not in made.codes())
        await made.stop()
        assert verified(made).sound


async def test_the_program_tells_of_its_log(tmp_path: Path) -> None:
    """`audit checkpoint`, `key` and `verify` work beside the running daemon; the log stream holds the whole note."""
    async with world(tmp_path) as made:
        made.put(4, ["typed health"])
        await made.answered(4)
        code, note, _ = await made.run("audit", "checkpoint")
        assert code == 0
        code, key, talk = await made.run("audit", "key", "--rotate")
        assert (code, "elsewhere" in talk) == (0, True)
        (tmp_path / "note").write_text(note)
        (tmp_path / "key").write_text(key)
        code, out, err = await made.run(
            "audit", "verify", "--key", str(tmp_path / "key"), "--checkpoint", str(tmp_path / "note")
        )
        assert code == 0, out + err
        code, out, _ = await made.run("audit", "show", "--event", "intent")
        assert (code, len(out.splitlines())) == (0, 5)
        await made.daemon.stop()
        told = [parse_note(line["note"]) for line in made.log() if line["event"] == "audit.checkpoint"]
        assert parse_note(note) in told
        assert verify_folder(
            made.state / FOLDER, [PublicKey.parse(key)], {f"{at}": one for at, one in enumerate(told)}
        ).sound
