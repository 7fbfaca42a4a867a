"""The storage key: where it comes from, and what is made of it.

A key is any text of 32 characters or more, from the configuration or made by the relay at its first start. The master
key is SHA-256 of a label, a zero byte and the text; everything else is derived from the master key, so that no two uses
share a key. The former keys only open; the current one seals.

Why the self-made key lies beside the state folder and not in it: a copy or a backup of the state folder alone does not
open the bodies in it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from relay.core.errors import StorageError
from relay.core.secret import Secret
from relay.host.files import private_folder, read_private, write_private

KEY_FILE = "storage.key"
SHORTEST = 32
"""Characters. 32 of base64 hold 192 bits; a shorter text is a pass phrase, which can be guessed from a stolen copy."""
_MASTER = b"bseries-relay storage master v1\0"
_KEY_ID = b"bseries-relay storage key id v1"
_LARGEST_FILE = 4096


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """One master key of 32 bytes. `id` (16 hex digits) tells keys apart and tells nothing of the key."""

    id: str
    value: bytes

    @classmethod
    def of(cls, text: Secret) -> Self:
        """The master key of a text.

        Raises:
            StorageError: BSR-5009, the text is too short.

        """
        revealed = text.reveal().strip()
        if len(revealed) < SHORTEST:
            raise StorageError(5009, f"it has fewer than {SHORTEST} characters")
        value = hashlib.sha256(_MASTER + revealed.encode("utf-8", "surrogatepass")).digest()
        return cls(hmac.digest(value, _KEY_ID, "sha256").hex()[:16], value)

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"


@dataclass(frozen=True, slots=True)
class StorageKey:
    """The current key and the former ones that may still be needed to open what they sealed."""

    current: MasterKey
    former: tuple[MasterKey, ...] = ()
    self_made: bool = False

    @classmethod
    def of(cls, text: Secret, former: Sequence[Secret] = (), *, self_made: bool = False) -> Self:
        """The key of a text.

        Raises:
            StorageError: BSR-5009, one of the texts is too short.

        """
        return cls(MasterKey.of(text), tuple(MasterKey.of(one) for one in former), self_made)

    def find(self, key_id: str) -> MasterKey | None:
        """The live key of this id."""
        return next((key for key in (self.current, *self.former) if key.id == key_id), None)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, made of the current key."""
        return hmac.digest(self.current.value, b"bseries-relay purpose v1\0" + purpose.encode(), "sha256")


def load_key(
    folder: Path,
    secret: Secret | None,
    former: Sequence[Secret] = (),
    *,
    in_use: Callable[[], Collection[str]] = tuple,
) -> StorageKey:
    """The storage key: the configured one, else the self-made one, which is made when there is none.

    Args:
        folder: holds the self-made key; made with mode 0700 when it is missing.
        secret: the configured key, None when there is none.
        former: earlier configured keys.
        in_use: ids of the keys that sealed what the store holds; asked only before a key is made.

    Raises:
        StorageError: BSR-5009 the key cannot be made or read; BSR-5008 the self-made key is gone but the store holds
            bodies, which a new key would not open.

    """
    path = folder / KEY_FILE
    if secret is not None:
        return _with_self_made(StorageKey.of(secret, former), path)
    try:
        text = _read(path)
        if text is None:
            known = sorted(in_use())
            if known:
                raise StorageError(5008, f"{path} is missing, stored bodies need key {', '.join(known)}")
            text = Secret(secrets.token_hex(32))
            private_folder(folder)
            write_private(path, text.reveal().encode() + b"\n")
    except OSError as error:
        raise StorageError(5009, f"{path}: {error.strerror or type(error).__name__}") from error
    return StorageKey.of(text, former, self_made=True)


def _with_self_made(key: StorageKey, path: Path) -> StorageKey:
    """A self-made key from before a key was configured still opens what it sealed."""
    try:
        text = _read(path)
    except (OSError, StorageError):
        text = None  # the configured key is what matters; a body that needs this one says so
    if text is None or MasterKey.of(text) == key.current:
        return key
    return StorageKey(key.current, (*key.former, MasterKey.of(text)))


def _read(path: Path) -> Secret | None:
    """The text of the key file, None when there is none."""
    held = read_private(path, _LARGEST_FILE)
    return None if held is None else Secret(held.decode("utf-8", "surrogateescape"))
