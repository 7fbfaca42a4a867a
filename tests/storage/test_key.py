"""The storage key: from where it comes, and when the relay refuses to make one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.store import KEY, new, open_store

from relay.core.errors import StorageError
from relay.core.secret import Secret
from relay.storage.key import KEY_FILE, MasterKey, StorageKey, load_key
from relay.storage.schema import keys_in_use

TEXT = Secret("a key of at least 32 characters: yes")


def number(error: pytest.ExceptionInfo[StorageError]) -> int:
    return error.value.number


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """Without a configured key one is made in a private folder and file, and found again at the next start."""
    folder = tmp_path / "state-key"
    made = load_key(folder, None)
    assert made.self_made
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert load_key(folder, None) == made
    assert load_key(tmp_path / "other-key", None).current != made.current


def test_a_self_made_key_can_be_moved_to_the_configuration(tmp_path: Path) -> None:
    """The text of the key file, given as configured key, is the same key."""
    made = load_key(tmp_path, None)
    text = (tmp_path / KEY_FILE).read_text()
    assert load_key(tmp_path, Secret(text)).current == made.current
    assert load_key(tmp_path, Secret(text)).former == ()


def test_a_configured_key_leaves_the_self_made_one_in_use_for_opening(tmp_path: Path) -> None:
    """After a key is configured, what the self-made one sealed still opens."""
    made = load_key(tmp_path, None)
    key = load_key(tmp_path, TEXT, [Secret("x" * 40)])
    assert not key.self_made
    assert key.current == MasterKey.of(TEXT)
    assert key.find(made.current.id) == made.current
    assert key.find(MasterKey.of(Secret("x" * 40)).id) is not None
    assert key.find("0" * 16) is None


def test_a_configured_key_does_not_need_the_folder(tmp_path: Path) -> None:
    """Nothing is written, and a self-made key that cannot be read is no obstacle."""
    assert load_key(tmp_path / "none", TEXT).former == ()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / KEY_FILE).mkdir()
    assert load_key(tmp_path, TEXT).current == MasterKey.of(TEXT)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    """A key of fewer than 32 characters is BSR-5009, wherever it comes from."""
    for secrets in ((Secret("x" * 31), ()), (TEXT, (Secret("short"),))):
        with pytest.raises(StorageError) as error:
            load_key(tmp_path, *secrets)
        assert number(error) == 5009
    (tmp_path / KEY_FILE).write_text("short")
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(StorageError) as error:
        load_key(tmp_path, None)
    assert number(error) == 5009


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """A key file that group or others can read or write is BSR-5009."""
    load_key(tmp_path, None)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(StorageError) as error:
        load_key(tmp_path, None)
    assert number(error) == 5009


def test_a_key_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where the key's folder cannot be made the error is BSR-5009, and where the key is a link it is not followed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as error:
        load_key(tmp_path / "file" / "key", None)
    assert number(error) == 5009
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError) as error:
        load_key(tmp_path, None)
    assert number(error) == 5009


async def test_no_key_is_made_while_bodies_need_a_lost_one(tmp_path: Path) -> None:
    """When the key file is gone and the store holds bodies, starting is refused with BSR-5008 and makes nothing."""
    state, folder = tmp_path / "state", tmp_path / "state-key"
    assert keys_in_use(state) == frozenset()
    key = load_key(folder, None, in_use=lambda: keys_in_use(state))
    store = await open_store(state, key)
    (job,) = await store.add([new("a", bodies={"p": b"x"})], 0.0)
    await store.close()
    text = (folder / KEY_FILE).read_bytes()
    (folder / KEY_FILE).unlink()
    with pytest.raises(StorageError) as error:
        load_key(folder, None, in_use=lambda: keys_in_use(state))
    assert number(error) == 5008
    assert key.current.id in str(error.value)
    assert list(folder.iterdir()) == []
    (folder / KEY_FILE).write_bytes(text)
    (folder / KEY_FILE).chmod(0o600)
    store = await open_store(state, load_key(folder, None))
    assert await store.bodies(["a"], "p") == [b"x"]
    assert job is not None
    await store.forget([job])
    await store.close()
    (folder / KEY_FILE).unlink()
    assert load_key(folder, None, in_use=lambda: keys_in_use(state)).self_made


def test_derived_keys_differ_by_purpose() -> None:
    """Each purpose has a key of its own, the same at every start, and none is the master key."""
    assert KEY.derive("audit") == KEY.derive("audit")
    assert len({KEY.derive("audit"), KEY.derive("other"), KEY.current.value}) == 3


def test_a_key_is_never_shown() -> None:
    """The representation of a key holds its id and nothing of its value."""
    shown = repr(StorageKey.of(TEXT, [Secret("y" * 32)]))
    assert MasterKey.of(TEXT).id in shown
    assert MasterKey.of(TEXT).value.hex() not in shown
    assert "value" not in shown
