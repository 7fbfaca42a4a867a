"""Bodies at rest: unreadable without the key, bound to their place, compressed when it pays."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.store import KEY, NOW, OTHER_KEY, new, open_store

from relay.core.errors import StorageError
from relay.storage.key import StorageKey
from relay.storage.schema import STORE
from relay.storage.sealing import seal, unseal


@given(job=st.text(max_size=40), name=st.text(max_size=9), body=st.binary(max_size=3000))
def test_a_body_opens_as_it_was_sealed(job: str, name: str, body: bytes) -> None:
    """Any body of any job opens to the same bytes."""
    assert unseal(KEY, job, name, seal(KEY, job, name, body)) == body


@given(data=st.data())
def test_a_changed_body_does_not_open(data: st.DataObject) -> None:
    """One changed bit anywhere in a sealed body, or a cut at its end, is found."""
    sealed = seal(KEY, "a", "p", b"text " * data.draw(st.integers(0, 300)))
    blob = bytearray(sealed.blob)
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(blob) * 8 - 1))
        blob[bit // 8] ^= 1 << bit % 8
    else:
        del blob[data.draw(st.integers(0, len(blob) - 1)) :]
    with pytest.raises(StorageError) as error:
        unseal(KEY, "a", "p", replace(sealed, blob=bytes(blob)))
    assert error.value.number == 5002


def test_a_body_is_bound_to_its_place() -> None:
    """A sealed body moved to another job or name, or with another size or packing, does not open."""
    sealed = seal(KEY, "a", "p", b"x" * 2000)
    for job, name, moved in (
        ("b", "p", sealed),
        ("a", "q", sealed),
        ("a", "p", replace(sealed, size=10**9)),
        ("a", "p", replace(sealed, packing=0)),
    ):
        with pytest.raises(StorageError) as error:
            unseal(KEY, job, name, moved)
        assert error.value.number == 5002


def test_equal_bodies_look_different() -> None:
    """The same body sealed twice, or for two jobs, has nothing in common on the disk."""
    blobs = {seal(KEY, job, "p", b"x" * 100).blob[12:] for job in ("a", "a", "b")}
    assert len(blobs) == 3


def test_bodies_are_compressed_when_it_pays() -> None:
    """Text shrinks; what is random or short is stored as it is."""
    text, noise = b"<record>value</record>" * 500, os.urandom(5000)
    assert len(seal(KEY, "a", "p", text).blob) < len(text) / 5
    assert len(seal(KEY, "a", "p", noise).blob) == len(noise) + 28
    assert len(seal(KEY, "a", "p", b"x" * 100).blob) == 128


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_no_body_is_readable_on_the_disk(tmp_path: Path) -> None:
    """The files of the store hold no trace of a body's text."""
    store = await open_store(tmp_path)
    await store.add([new("a", bodies={"p": b"the secret of the body"})], NOW)
    files = content(tmp_path)
    await store.close()
    files += content(tmp_path)
    assert b"SEEN" in files
    assert b"secret" not in files


async def test_another_key_opens_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """A body sealed with a key that is not here is BSR-5008; given the key again as a former one it opens."""
    store = await open_store(tmp_path, OTHER_KEY)
    await store.add([new("a", bodies={"p": b"old"})], NOW)
    await store.close()
    store = await open_store(tmp_path)
    with pytest.raises(StorageError) as error:
        await store.bodies(["a"], "p")
    assert error.value.number == 5008
    assert error.value.retryable
    await store.add([new("b", bodies={"p": b"new"})], NOW)
    assert store.failure is None
    await store.close()
    store = await open_store(tmp_path, StorageKey(KEY.current, (OTHER_KEY.current,)))
    assert await store.bodies(["a", "b"], "p") == [b"old", b"new"]
    await store.close()


async def test_a_body_swapped_on_the_disk_is_found(tmp_path: Path) -> None:
    """Somebody who exchanges the bodies of two jobs in the file gets neither of them executed."""
    store = await open_store(tmp_path)
    await store.add([new("a", bodies={"p": b"one"}), new("b", bodies={"p": b"two"})], NOW)
    await store.close()
    with sqlite3.connect(tmp_path / STORE) as file:
        file.execute("UPDATE bodies SET job = -job")
        file.execute("UPDATE bodies SET job = 3 + job")
    file.close()
    store = await open_store(tmp_path)
    for job in ("a", "b"):
        with pytest.raises(StorageError) as error:
            await store.bodies([job], "p")
        assert error.value.number == 5002
    await store.close()
