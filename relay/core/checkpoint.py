"""Signed checkpoints of the audit log as values and text: C2SP tlog-checkpoint in a C2SP signed note.

    bseries-relay/relay01                            the origin: which log this is
    1234                                             how many lines it had
    q3xa...=                                         the root of the Merkle tree over them, base64

    — bseries-relay/relay01 1aZ0...=                 signatures: key name, base64(key id, Ed25519 signature)

A signature covers everything up to and including the line feed before the empty line. The origin and the key's name are
the same text: `bseries-relay/` and the relay's name, percent-encoded, as it was when the key was made.

Why Ed25519 is not here: the core decides what has to be true, the caller brings the function that checks a signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from relay.core.merkle import HASH_BYTES

LONGEST_NOTE = 16 * 1024
"""Characters of a note that are read; ours have some 300."""
KEY_BYTES = 32
SIGNATURE_BYTES = 64
_ED25519 = b"\1"
_ID_BYTES = 4
_MOST_SIGNATURES = 16
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_WRITTEN = re.compile(r"\\{1,2}n")
_SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key with its name, as a verifier has to know it."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """`name+id+key`: the text form, as other tools for signed notes read it."""
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.key)}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """The key of a text form.

        Raises:
            ValueError: it is no text form of an Ed25519 key.

        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, key = rest.partition("+")
        made = cls(name, _bytes(key, len(_ED25519) + KEY_BYTES)[len(_ED25519) :])
        fit = _NAME.fullmatch(name) and name.isprintable()
        if not fit or made.id.hex() != key_id or made.vkey != vkey.strip():
            msg = "no Ed25519 key in the form name+id+key"
            raise ValueError(msg)
        return made


Check = Callable[[PublicKey, bytes, bytes], bool]
"""Whether a key made this Ed25519 signature (last) of this message."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line: who, with which key, and the 64 bytes."""

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: how many lines, and the root over them. `extra` lines are signed along and mean nothing."""

    origin: str
    size: int
    root: bytes
    extra: tuple[str, ...] = ()

    @property
    def body(self) -> str:
        """The text that is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, _base64(self.root), *self.extra))


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint with its signatures."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]

    @property
    def text(self) -> str:
        """The note, as it is stored and sent."""
        lines = (f"\u2014 {one.name} {_base64(one.key_id + one.value)}\n" for one in self.signatures)
        return f"{self.checkpoint.body}\n{''.join(lines)}"

    @property
    def size(self) -> int:
        """How many lines it covers."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self.checkpoint.root


def origin_of(relay_name: str) -> str:
    """The origin of a relay's log: its name, percent-encoded, since an origin has neither space nor plus."""
    return f"bseries-relay/{quote(relay_name, safe='')}"


def parse_note(text: str) -> Note:
    r"""A note as it was stored, copied from the journal, or read back from ServiceNow.

    A missing last line feed, `\r\n`, and the two characters `\n` for a line feed (as the log stream writes it; three
    in a line of JSON as it stands there) are understood, so that a copied note is as good as the file.

    Raises:
        ValueError: it is no signed checkpoint.

    """
    if len(text) > LONGEST_NOTE:
        raise ValueError("longer than any checkpoint")
    text = text.strip().replace("\r\n", "\n")
    if "\n" not in text:
        text = _WRITTEN.sub("\n", text).strip()
    body, found, signed = text.rpartition("\n\n")
    lines = body.split("\n")
    if not found or _CONTROL.search(text) or any(not line for line in lines):
        raise ValueError("no signed note")
    if len(lines) < 3 or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004  # origin, size, root
        raise ValueError("no checkpoint of a log")
    checkpoint = Checkpoint(lines[0], int(lines[1]), _bytes(lines[2], HASH_BYTES), tuple(lines[3:]))
    signatures = [_signature(line) for line in signed.split("\n")]
    if len(signatures) > _MOST_SIGNATURES:
        raise ValueError("too many signatures")
    return Note(checkpoint, tuple(one for one in signatures if one is not None))


def signers(note: Note, known: Collection[PublicKey], check: Check) -> tuple[PublicKey, ...]:
    """The known keys that signed a note. Signatures of keys that are not known are left out.

    Raises:
        ValueError: a signature that claims a known key is not that key's, or the key is another log's.

    """
    message, found = note.checkpoint.body.encode(), list[PublicKey]()
    for one in note.signatures:
        for key in known:
            if (key.name, key.id) != (one.name, one.key_id):
                continue
            if not check(key, message, one.value):
                raise ValueError("a signature is false")
            if key.name != note.checkpoint.origin:
                raise ValueError("it is of another log")
            found.append(key)
    return tuple(found)


def parse_keys(text: str) -> list[PublicKey]:
    """The keys of a file, one a line. Empty lines and those that begin with `#` are left out.

    Raises:
        ValueError: another line is no key, or there is none.

    """
    lines: Sequence[str] = [line.strip() for line in text.splitlines()]
    keys = [PublicKey.parse(line) for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ValueError("there is no key in it")
    return keys


def _signature(line: str) -> Signature | None:
    """A signature line; None for one of another kind than Ed25519."""
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise ValueError("no signature line")
    try:
        value = _bytes(match[2], _ID_BYTES + SIGNATURE_BYTES)
    except ValueError:
        return None
    return Signature(match[1], value[:_ID_BYTES], value[_ID_BYTES:])


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(text: str, length: int) -> bytes:
    """The bytes of a base64 text in its one right spelling."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != length or _base64(value) != text:
        msg = f"no base64 of {length} bytes"
        raise ValueError(msg)
    return value
