"""Signs what the log holds: checkpoints, and the change of the key that signs them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from relay.audit import checkpoints
from relay.audit.compress import compress, has_room, ripe
from relay.audit.keys import (
    KEY_FILE,
    KNOWN_FILE,
    NEXT_FILE,
    SigningKey,
    add_known,
    check,
    keys_told,
    known_keys,
    read_key,
    replace_key,
    write_key,
)
from relay.audit.log import AuditLog
from relay.audit.segments import segments
from relay.core.checkpoint import Checkpoint, Note, PublicKey, origin_of, signers
from relay.core.errors import StorageError

log = structlog.get_logger("relay.audit")

Result = TypeVar("Result")

AT_ONCE = 8
"""Segments compressed in one round: some ten seconds of work."""


class Notary:
    """Signs checkpoints of one open log.

    Args:
        audit: the log.
        key_folder: holds the signing key; made when it is missing.
        relay_name: names a key that is made, and so the log's origin.

    """

    def __init__(self, audit: AuditLog, key_folder: Path, relay_name: str) -> None:
        self._audit = audit
        self._key_folder = key_folder
        self._name = origin_of(relay_name)
        self._lock = asyncio.Lock()
        self._key: SigningKey | None = None
        self._newest: Note | None = None

    @property
    def newest(self) -> Note | None:
        """The newest checkpoint, once one was signed or found since the start."""
        return self._newest

    async def sign(self) -> Note:
        """A checkpoint of everything that is in the log; the newest one when nothing was added since.

        Raises:
            StorageError: BSR-5012 the key cannot be used, BSR-5007 the checkpoint cannot be stored, BSR-5005.

        """
        async with self._lock:
            return await self._sign([await self._ready()])

    async def rotate(self, author: str) -> PublicKey:
        """Sign with a new key from now on; the old one signs the last time, together with the new one.

        When the old key is gone, or a former one lies in its place, the new one begins alone, and nobody who knows the
        old one has a reason to trust it.

        Raises:
            StorageError: as `sign`.

        """
        async with self._lock:
            key, following, known = await self._off_loop(self._read)
            if following is None and _is_former(key, known):
                key = None
            elif key is not None:
                key = await self._ready()
            self._key = None  # should this fail half way, the next signature finds the next key and ends it
            new = SigningKey.make(self._name if key is None else key.public.name)
            await self._off_loop(lambda: write_key(self._key_folder, new, NEXT_FILE))
            await self._change(key, new, author)
            return new.public

    async def tidy(self) -> None:
        """Compress some of what can be compressed. Failing is no harm: it is logged and tried again."""
        folder = self._audit.folder
        try:
            found = await asyncio.to_thread(lambda: ripe(segments(folder)))
            for segment in found[:AT_ONCE]:
                if not has_room(segment):
                    return
                if await asyncio.to_thread(compress, segment):
                    log.info("audit.compressed", file=segment.name)
                else:
                    log.warning("audit.not_compressed", file=segment.name, reason="its two forms differ")
        except OSError as error:
            log.warning("audit.not_compressed", reason=error.strerror or type(error).__name__)

    async def _ready(self) -> SigningKey:
        """The key; the first time it is read or made, told of in the log, and a rotation that was cut off is ended."""
        if self._key is not None:
            return self._key
        key, following, known = await self._off_loop(self._read)
        if following is None and _is_former(key, known):
            raise StorageError(5012, f"{self._key_folder / KEY_FILE} is a former key, which may sign no more")
        self._refuse_strangers({one.public for one in (key, following) if one is not None})
        if following is not None:
            await self._change(key, following, "")
            return following
        if key is None:
            if known:
                raise StorageError(5012, f"{self._key_folder} holds none any more, though checkpoints were signed")
            key = SigningKey.make(self._name)
            await self._off_loop(lambda: write_key(self._key_folder, key))
        if key.public not in known:
            await self._introduce(key, None, "")
        self._key = key
        return key

    def _refuse_strangers(self, own: Collection[PublicKey]) -> None:
        """Refuse to sign over a line that tells of a key which is not ours.

        A checkpoint vouches for the keys in the lines that it covers, so no line of another's may be under one. Nor may
        one that only another's checkpoint covers: `keys.vkey` lies in the folder, where its writer can name any key.
        """
        witness = self._audit.witness
        if own and witness is not None and not signers(witness, own, check):
            raise StorageError(5012, f"the newest checkpoint, over {witness.size} lines, is of a key not the relay's")
        for line in self._audit.told:
            for told in keys_told(0, line):
                if told.key not in own:
                    raise StorageError(5012, f"the log tells of a key that is not the relay's: {told.key.vkey}")
        self._audit.told, self._audit.witness = (), None

    def _read(self) -> tuple[SigningKey | None, SigningKey | None, list[PublicKey]]:
        folder = self._audit.folder
        known = known_keys(folder)
        self._newest = checkpoints.newest(folder, known)
        return read_key(self._key_folder), read_key(self._key_folder, NEXT_FILE), known

    async def _change(self, key: SigningKey | None, following: SigningKey, author: str) -> None:
        """Let the next key, which is stored, take over."""
        await self._introduce(following, key, author, known=False)
        await self._sign([one for one in (key, following) if one is not None])
        await self._off_loop(lambda: add_known(self._audit.folder, following.public))
        await self._off_loop(lambda: replace_key(self._key_folder))
        self._key = following

    async def _introduce(self, key: SigningKey, former: SigningKey | None, author: str, *, known: bool = True) -> None:
        """Tell of a key in the log, and beside it."""
        vkey = key.public.vkey
        told = {"former": former.public.vkey} if former is not None else {}
        await self._audit.append([{"event": "key", "job": "", "attempt": 0, "key": vkey, "by": author, **told}])
        if known:
            await self._off_loop(lambda: add_known(self._audit.folder, key.public))
        log.info("audit.key", key=vkey)

    async def _sign(self, keys: Sequence[SigningKey]) -> Note:
        place, newest = self._audit.place, self._newest
        checkpoint = Checkpoint(keys[0].public.name, place.tree.size, place.tree.root)
        wanted = {key.public.id for key in keys}
        if newest and newest.checkpoint == checkpoint and wanted <= {one.key_id for one in newest.signatures}:
            return newest
        note = Note(checkpoint, tuple(key.sign(checkpoint) for key in keys))
        folder = self._audit.folder
        await self._off_loop(lambda: checkpoints.write(folder, note))
        self._newest = note
        root = base64.b64encode(note.root).decode()
        log.info("audit.checkpoint", size=note.size, root=root, note=note.text)
        await asyncio.to_thread(self._audit.keep, place)
        return note

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        """Work with files, off the event loop."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StorageError(5007, f"{error.filename or self._audit.folder}: {error.strerror}") from error
        except ValueError as error:
            raise StorageError(5012, f"{self._audit.folder / KNOWN_FILE}: {error}") from error


def _is_former(key: SigningKey | None, known: Sequence[PublicKey]) -> bool:
    """Whether a key gave way to the one that stands last."""
    return key is not None and key.public in known[:-1]
