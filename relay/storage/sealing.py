"""Bodies at rest: compressed when it pays, then AES-256-GCM under a key of their job.

The data key is HMAC-SHA-256(master, label and job id), the nonce 96 random bits, and the associated data binds schema,
job, body name, packing and size: a sealed body that is moved to another place, or whose row was edited, does not open.

Why a key for each job: a master key would be worn out by 2^32 random nonces; a job seals a handful.
"""

from __future__ import annotations

import hmac
import json
import os
import zlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core.errors import StorageError
from relay.storage.key import MasterKey, StorageKey

_SCHEMA = "bseries-relay body v1"
_DATA_KEY = b"bseries-relay body key v1\0"
_NONCE = 12
_PLAIN, _ZLIB = 0, 1
WORTH_COMPRESSING = 512
"""Bytes. Below, compression saves less than the page that a row takes anyway."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A body as it lies in the store: `blob` is nonce and ciphertext with tag, `size` that of the body itself."""

    key_id: str
    packing: int
    size: int
    blob: bytes


def seal(key: StorageKey, job: str, name: str, body: bytes) -> Sealed:
    """Encrypt a body for its place."""
    packing, packed = _PLAIN, body
    if len(body) >= WORTH_COMPRESSING:
        squeezed = zlib.compress(body, 1)
        if len(squeezed) < len(body) * 0.9:
            packing, packed = _ZLIB, squeezed
    nonce = os.urandom(_NONCE)
    bound = _bound(job, name, packing, len(body))
    blob = nonce + _cipher(key.current, job).encrypt(nonce, packed, bound)
    return Sealed(key.current.id, packing, len(body), blob)


def unseal(key: StorageKey, job: str, name: str, sealed: Sealed) -> bytes:
    """The body of this place.

    Raises:
        StorageError: BSR-5008 the key is not here; BSR-5002 it is not what was sealed for this place.

    """
    master = key.find(sealed.key_id)
    if master is None:
        raise StorageError(5008, f"key {sealed.key_id}, job {job}")
    bound = _bound(job, name, sealed.packing, sealed.size)
    try:
        packed = _cipher(master, job).decrypt(sealed.blob[:_NONCE], sealed.blob[_NONCE:], bound)
    except (InvalidTag, ValueError) as error:  # ValueError: a blob that is too short
        raise StorageError(5002, f"body '{name}' of job {job} does not open") from error
    if sealed.packing == _PLAIN:
        return packed
    # what opened is what was sealed, so that its stated size bounds what comes out
    return zlib.decompressobj().decompress(packed, sealed.size + 1)


def _cipher(master: MasterKey, job: str) -> AESGCM:
    return AESGCM(hmac.digest(master.value, _DATA_KEY + job.encode(), "sha256"))


def _bound(job: str, name: str, packing: int, size: int) -> bytes:
    return json.dumps([_SCHEMA, job, name, packing, size]).encode()
