"""The key that signs checkpoints, and the public keys that are known.

The private key lies with the storage key, apart from the state folder: who may read a copy of the log cannot sign one.
It is one line of text in the form that other tools for signed notes use, `PRIVATE+KEY+name+id+key`.

The order of durable steps of a rotation: the new key is stored beside the old one; the log tells of it in a line; a
checkpoint over that line is signed by both; the new key takes the old one's place. A crash in between is finished by
the next start, because the new key is still there.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.core.checkpoint import Checkpoint, PublicKey, Signature, parse_keys
from relay.core.checkpoint_trust import Told
from relay.core.errors import StorageError
from relay.host.files import private_folder, read_private, sync_folder, write_private

KEY_FILE: Final = "audit.key"
NEXT_FILE: Final = "audit.key.next"
"""In the key folder: the signing key, and the one of a rotation under way."""
KNOWN_FILE: Final = "keys.vkey"
"""In the log's folder: the public keys, one a line, the current one last."""
KEY_EVENT: Final = b'"event":"key"'
"""What a line that tells of a key holds."""
_PREFIX: Final = "PRIVATE+KEY+"
_ED25519: Final = b"\1"
_LARGEST: Final = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 key with its name."""

    public: PublicKey
    _private: Ed25519PrivateKey

    @classmethod
    def make(cls, name: str) -> Self:
        """A new key."""
        private = Ed25519PrivateKey.generate()
        return cls(PublicKey(name, private.public_key().public_bytes_raw()), private)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key of a text form.

        Raises:
            ValueError: it is none, or does not agree with itself.

        """
        text = text.strip()
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        key_id, _, value = rest.partition("+")
        seed = base64.b64decode(value, validate=True)
        private = Ed25519PrivateKey.from_private_bytes(seed[1:])
        public = PublicKey(name, private.public_key().public_bytes_raw())
        if not text.startswith(_PREFIX) or seed[:1] != _ED25519 or public.id.hex() != key_id:
            raise ValueError("no signing key")
        PublicKey.parse(public.vkey)  # its name is fit for one
        return cls(public, private)

    @property
    def secret_text(self) -> str:
        """The text form. It may go nowhere but into the key's file."""
        value = base64.b64encode(_ED25519 + self._private.private_bytes_raw()).decode()
        return f"{_PREFIX}{self.public.name}+{self.public.id.hex()}+{value}"

    def sign(self, checkpoint: Checkpoint) -> Signature:
        """A signature of a checkpoint."""
        return Signature(self.public.name, self.public.id, self._private.sign(checkpoint.body.encode()))

    def __repr__(self) -> str:
        return f"SigningKey({self.public.vkey})"


def check(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether a key made this signature of this message."""
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def read_key(folder: Path, name: str = KEY_FILE) -> SigningKey | None:
    """The signing key of a folder; None when there is none.

    Raises:
        StorageError: BSR-5012, it cannot be read, or others can.

    """
    path = folder / name
    try:
        held = read_private(path, _LARGEST)
        return None if held is None else SigningKey.parse(held.decode())
    except ValueError:
        raise StorageError(5012, f"{path} holds no signing key") from None
    except OSError as error:
        raise _unusable(path, error) from error


def write_key(folder: Path, key: SigningKey, name: str = KEY_FILE) -> None:
    """Store a signing key, durably, for its owner alone.

    Raises:
        StorageError: BSR-5012.

    """
    try:
        private_folder(folder)
        write_private(folder / name, key.secret_text.encode() + b"\n")
    except OSError as error:
        raise _unusable(folder / name, error) from error


def replace_key(folder: Path) -> None:
    """Let the next key take the place of the current one.

    Raises:
        StorageError: BSR-5012.

    """
    try:
        (folder / NEXT_FILE).replace(folder / KEY_FILE)
        sync_folder(folder)
    except OSError as error:
        raise _unusable(folder / KEY_FILE, error) from error


def known_keys(log_folder: Path) -> list[PublicKey]:
    """The public keys that stand beside the log, the current one last; none when there is no file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file holds something else.

    """
    try:
        with (log_folder / KNOWN_FILE).open("rb") as file:
            return parse_keys(file.read(_LARGEST).decode())
    except FileNotFoundError:
        return []


def add_known(log_folder: Path, key: PublicKey) -> None:
    """Write a public key beside the log as the current one.

    Raises:
        OSError: it cannot be written.
        ValueError: the file holds something else than keys.

    """
    keys = [known for known in known_keys(log_folder) if known != key]
    write_private(log_folder / KNOWN_FILE, "".join(f"{one.vkey}\n" for one in (*keys, key)).encode())


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(5012, f"{path}: {error.strerror or type(error).__name__}")


def keys_told(seq: int, text: bytes) -> list[Told]:
    """The keys that a line tells of."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(entry, dict) or entry.get("event") != "key":
        return []
    key, former = _key(entry.get("key")), _key(entry.get("former"))
    told = [] if key is None else [Told(seq, key, former)]
    return told if former is None else [*told, Told(seq, former)]


def _key(vkey: object) -> PublicKey | None:
    try:
        return PublicKey.parse(str(vkey))
    except ValueError:
        return None
