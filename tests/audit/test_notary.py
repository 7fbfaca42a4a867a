"""Signing the log: the first key, checkpoints, rotation, and keys that are gone."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.auditlog import entry, failing, opened, whole

from relay.audit import checkpoints
from relay.audit.keys import KEY_FILE, NEXT_FILE, SigningKey, add_known, check, known_keys, read_key, write_key
from relay.audit.log import AuditLog
from relay.audit.notary import Notary
from relay.audit.segments import FIRST, FOLDER
from relay.audit.verify import verify_folder
from relay.core.chain import entry_of, next_line
from relay.core.checkpoint import Checkpoint, Note, parse_note, signers
from relay.core.errors import StorageError
from relay.core.merkle import Tree, leaf_hash


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def events(state: Path) -> list[dict[str, object]]:
    return [json.loads(raw) for _, lines in whole(state) for raw in lines]


async def begun(state: Path, keys: Path, name: str = "relay01") -> tuple[AuditLog, Notary]:
    log = await opened(state)
    await log.append([entry("first")])
    return log, Notary(log, keys, name)


async def test_the_first_checkpoint_makes_a_key(state: Path, keys: Path) -> None:
    """The key is made private; the log tells of it; its public half lies beside the log; the checkpoint verifies."""
    log, notary = await begun(state, keys, "relay 01")
    assert notary.newest is None
    with capture_logs() as told:
        note = await notary.sign()
    await log.close()
    assert (keys / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (keys / KEY_FILE).parent.stat().st_mode & 0o777 == 0o700
    (public,) = known_keys(state / FOLDER)
    assert public.name == note.checkpoint.origin == "bseries-relay/relay%2001"
    line = events(state)[-1]
    assert (line["event"], line["key"], line["by"]) == ("key", public.vkey, "")
    assert note.size == 2
    (path,) = checkpoints.paths(state / FOLDER)
    assert path.read_text() == note.text
    assert path.stat().st_mode & 0o777 == 0o600
    assert [line["event"] for line in told] == ["audit.key", "audit.checkpoint"]
    assert parse_note(told[1]["note"]) == note
    assert verify_folder(state / FOLDER, [public]).sound


async def test_a_log_that_did_not_grow_is_not_signed_again(state: Path, keys: Path) -> None:
    """The same log is one checkpoint, over a restart too; a line more is another one."""
    log, notary = await begun(state, keys)
    first = await notary.sign()
    assert await notary.sign() is first
    await log.close()
    log = await opened(state)
    notary = Notary(log, keys, "renamed")
    with capture_logs() as told:
        assert await notary.sign() == first
    assert told == []
    await log.append([entry("second")])
    assert (await notary.sign()).size == first.size + 1
    await log.close()
    assert len(checkpoints.paths(state / FOLDER)) == 2
    assert verify_folder(state / FOLDER).sound


async def test_a_rotation_is_signed_by_both_keys(state: Path, keys: Path) -> None:
    """The log tells of the new key, the checkpoint over that line has both signatures, and later ones the new alone."""
    log, notary = await begun(state, keys)
    await notary.sign()
    (old,) = known_keys(state / FOLDER)
    new = await notary.rotate("admin")
    assert notary.newest is not None
    assert set(signers(notary.newest, [old, new], check)) == {old, new}
    line = events(state)[-1]
    assert (line["key"], line["former"], line["by"]) == (new.vkey, old.vkey, "admin")
    await log.append([entry("later")])
    later = await notary.sign()
    assert signers(later, [old, new], check) == (new,)
    await log.close()
    assert known_keys(state / FOLDER) == [old, new]
    stored = read_key(keys)
    assert stored is not None
    assert stored.public == new
    assert not (keys / NEXT_FILE).exists()
    for key in (old, new):
        assert verify_folder(state / FOLDER, [key]).sound
    log = await opened(state)
    again = Notary(log, keys, "relay01")
    second = await again.rotate("admin")  # the first thing asked of it
    await log.close()
    assert known_keys(state / FOLDER) == [old, new, second]
    assert verify_folder(state / FOLDER, [old]).sound


@pytest.mark.parametrize("signed", [False, True])
async def test_a_key_that_somebody_wrote_into_the_log_is_not_vouched_for(
    state: Path, keys: Path, *, signed: bool
) -> None:
    """Over a line about a key that is not the relay's nothing is signed, and so nobody comes to trust it."""
    log, notary = await begun(state, keys)
    await notary.sign()
    await log.close()
    (known,) = known_keys(state / FOLDER)
    stranger = SigningKey.make(known.name)
    thief = stranger.public
    forged, _ = next_line(log.head, entry_of(entry("", event="key", key=thief.vkey)), "2026-01-01T00:00:00.000Z")
    with (state / FOLDER / FIRST).open("ab") as file:
        file.write(forged + b"\n")
    if signed:
        tree = Tree().with_leaves(leaf_hash(raw[:-1]) for _, lines in whole(state) for raw in lines)
        checkpoint = Checkpoint(known.name, tree.size, tree.root)
        checkpoints.write(state / FOLDER, Note(checkpoint, (stranger.sign(checkpoint),)))
        add_known(state / FOLDER, thief)
        add_known(state / FOLDER, known)
    log = await opened(state)
    notary = Notary(log, keys, "relay01")
    for ask in (notary.sign(), notary.rotate("admin"), notary.sign()):
        with pytest.raises(StorageError, match="not the relay's") as error:
            await ask
        assert error.value.number == 5012
    await log.close()
    assert thief not in verify_folder(state / FOLDER, [known]).judgement.keys


async def test_a_former_key_signs_no_more(state: Path, keys: Path) -> None:
    """A key that was put back after it had given way is refused; the current one signs again, or a new one alone."""
    log, notary = await begun(state, keys)
    await notary.sign()
    former = (keys / KEY_FILE).read_bytes()
    await notary.rotate("admin")
    current = (keys / KEY_FILE).read_bytes()
    (keys / KEY_FILE).write_bytes(former)
    notary = Notary(log, keys, "relay01")
    with pytest.raises(StorageError, match="former key") as error:
        await notary.sign()
    assert error.value.number == 5012
    (keys / KEY_FILE).write_bytes(current)
    await log.append([entry("later")])
    await notary.sign()
    (keys / KEY_FILE).write_bytes(former)
    notary = Notary(log, keys, "relay01")
    new = await notary.rotate("admin")
    assert "former" not in events(state)[-1]
    await log.append([entry("last")])
    assert signers(await notary.sign(), [new], check) == (new,)
    await log.close()
    assert verify_folder(state / FOLDER).sound


@pytest.mark.parametrize("missing", ["key", "log"])
async def test_a_key_and_a_log_that_lost_one_another(state: Path, keys: Path, missing: str) -> None:
    """Without its key a signed log is not signed by a silent new one; a new log tells of the key that is there."""
    log, notary = await begun(state, keys)
    await notary.sign()
    (old,) = known_keys(state / FOLDER)
    await log.close()
    if missing == "log":
        (state / FOLDER).rename(state / "aside")
        log, notary = await begun(state, keys)
        note = await notary.sign()
        assert signers(note, [old], check) == (old,)
        assert events(state)[-1]["key"] == old.vkey
        await log.close()
        return
    (keys / KEY_FILE).unlink()
    log = await opened(state)
    notary = Notary(log, keys, "relay01")
    for _ in range(2):
        with pytest.raises(StorageError) as error:
            await notary.sign()
        assert error.value.number == 5012
    assert not (keys / KEY_FILE).exists()
    new = await notary.rotate("admin")
    line = events(state)[-1]
    assert line["key"] == new.vkey
    assert "former" not in line
    await log.close()
    assert verify_folder(state / FOLDER).sound
    assert not verify_folder(state / FOLDER, [old]).sound  # nobody who knew the old key need believe the new one


@pytest.mark.parametrize("spoilt", ["open", "nonsense", "folder", "link", "prefix", "id", "bytes"])
async def test_a_key_that_cannot_be_used_is_told(state: Path, keys: Path, spoilt: str) -> None:
    """A key that others can read, that is none, or that cannot be read is BSR-5012, and the log goes on."""
    log, notary = await begun(state, keys)
    await notary.sign()
    path = keys / KEY_FILE
    text = path.read_text()
    match spoilt:
        case "open":
            path.chmod(0o640)
        case "nonsense":
            path.write_text("nonsense")
        case "folder":
            path.unlink()
            path.mkdir(mode=0o700)
        case "link":
            path.rename(keys / "elsewhere")
            path.symlink_to(keys / "elsewhere")
        case "prefix":
            path.write_text(text.removeprefix("PRIVATE+"))
        case "id":
            path.write_text(SigningKey.make("other").secret_text.replace("other", "bseries-relay/relay01"))
        case _:
            path.write_bytes(b"\xff\xfe")
    other = Notary(log, keys, "relay01")
    with pytest.raises(StorageError) as error:
        await other.sign()
    assert error.value.number == 5012
    assert text.strip().split("+", 4)[4] not in str(error.value)
    await log.append([entry("goes on")])
    await log.close()


async def test_a_key_is_not_shown() -> None:
    """The value of a signing key shows its public half alone, and its text reads back."""
    key = SigningKey.make("bseries-relay/relay01")
    assert key.secret_text.split("+", 4)[4] not in repr(key)
    assert key.public.vkey in repr(key)
    assert SigningKey.parse(key.secret_text).public == key.public


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("fails", range(1, 10))
async def test_a_rotation_that_fails_anywhere_is_finished(
    state: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, fails: int, again: bool
) -> None:
    """Whichever sync of a rotation fails, the next signature, in this life or the next, ends with one trusted key."""
    log, notary = await begun(state, keys)
    await notary.sign()
    (old,) = known_keys(state / FOLDER)
    left = [fails]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, "broken")

    sync = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (count(), sync(descriptor)))
        with contextlib.suppress(StorageError):
            await notary.rotate("admin")
    assert left[0] <= 0
    if again:
        await log.close()
        log = await opened(state)
        notary = Notary(log, keys, "relay01")
    await log.append([entry("later")])
    note = await notary.sign()
    await log.close()
    assert not (keys / NEXT_FILE).exists()
    current = read_key(keys)
    assert current is not None
    assert current.public in signers(note, known_keys(state / FOLDER), check)
    assert verify_folder(state / FOLDER, [old]).sound


async def test_a_checkpoint_that_cannot_be_stored_is_told(
    state: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a checkpoint is BSR-5007 and made the next time; the log itself is not touched by it."""
    log, notary = await begun(state, keys)
    await notary.sign()
    await log.append([entry("more")])
    with monkeypatch.context() as patch:
        fired = failing(patch, "fsync", errno.ENOSPC)
        with pytest.raises(StorageError) as error:
            await notary.sign()
    assert fired
    assert error.value.number == 5007
    assert (await notary.sign()).size == 3
    await log.close()
    assert verify_folder(state / FOLDER).sound


async def test_checkpoints_are_bounded(state: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are kept, the newest; those of a rotation, and what is none of ours, stay for ever."""
    monkeypatch.setattr(checkpoints, "KEPT", 3)
    log, notary = await begun(state, keys)
    await notary.sign()
    await notary.rotate("admin")
    (state / FOLDER / checkpoints.FOLDER / "000000000001.note").write_text("somebody else's")
    rotation = notary.newest
    for number in range(6):
        await log.append([entry(f"{number}")])
        await notary.sign()
    await log.close()
    assert rotation is not None
    sizes = [int(path.stem) for path in checkpoints.paths(state / FOLDER)]
    assert sizes == [1, rotation.size, 7, 8, 9]


async def test_the_newest_checkpoint_is_one_that_is_known(state: Path, keys: Path) -> None:
    """A file that is no checkpoint, or a stranger's, does not pass for the newest one."""
    log, notary = await begun(state, keys)
    note = await notary.sign()
    await log.close()
    folder = state / FOLDER
    (folder / checkpoints.FOLDER / "000000000900.note").write_text("nonsense")
    (folder / checkpoints.FOLDER / "000000000800.note").write_text(
        note.text.replace("\n2\n", "\n800\n").replace("relay01 ", "relay09 ")
    )
    assert checkpoints.newest(folder, known_keys(folder)) == note
    assert checkpoints.newest(folder, []) is None


async def test_the_key_file_is_written_for_its_owner_alone(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be stored or put in place is BSR-5012, and no half of it is left."""
    key = SigningKey.make("bseries-relay/relay01")
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, times=9)
        with pytest.raises(StorageError) as error:
            write_key(keys, key)
        assert error.value.number == 5012
    assert read_key(keys) is None
