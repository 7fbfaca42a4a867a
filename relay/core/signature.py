"""Signed work: what a record's `relay_signature` says, and whether it may be believed.

    v1.<key id>.<unix time>.<nonce>.<base64url of HMAC-SHA-256, without padding>

The code is over the canonical text (`relay.core.canonical`) of what the policy made of the record, and not over its
XML: two records that mean the same have the same text, and whatever means something else has another. It binds the
work to the agent and the appliance that do it, to the user and the correlator that the row names, and to one moment.

That a signature is good for one record only is kept by the store: `relay.jobs.ports.Store.change_once`.

Why a wrong signature is refused also where none is needed: nobody signs by accident, so what was signed and does not
fit was changed on its way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from relay.core.canonical import NotCanonical, canonical
from relay.core.errors import WorkError
from relay.core.jobs import Json, Nonce

Required = Literal[False, True, "unsafe"]
"""Which calls must be signed: none, all, or those that are not safe to repeat."""

KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
MOST_KEYS: Final = 2
"""Live at a time: the one in use and, while it is replaced, the next."""
SHORTEST_KEY: Final = 32
"""Bytes. 32 of base64 hold 192 bits; a pass phrase could be guessed from one signed record."""
SKEW: Final = 300.0
"""Seconds that the signer's clock may be ahead of the instance's, and that signing may precede the record."""

_LONGEST: Final = 256
_FORM: Final = re.compile(
    r"v1\.([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,11})\.([A-Za-z0-9_-]{8,64})\.([A-Za-z0-9_-]{43})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it was read: form and bounds are right, nothing else is known. `mac` are 32 bytes."""

    key_id: str
    time: int
    nonce: str
    mac: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature is over, besides its own time and nonce.

    Attributes:
        agent: our `mid.server.<name>`.
        appliance: its name in the configuration.
        operation: the name in the catalog or of the site; never an alias.
        arguments: every argument that is sent, by name, as its canonical text; defaults included.
        correlator: the row's `agent_correlator`.
        by: the row's `sys_created_by`.

    """

    agent: str
    appliance: str
    operation: str
    arguments: Mapping[str, Json]
    correlator: str
    by: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The work is what the holder of a key signed; `nonce` is what may not pass with another record."""

    key_id: str
    nonce: Nonce


def needed(required: Required, *, safe: bool, by_operation: bool) -> bool:
    """Whether a call must be signed. `by_operation`: its operation demands it, whatever the global key says."""
    return by_operation or required is True or (required == "unsafe" and not safe)


def parse(text: str) -> Signature:
    """Read a signature strictly: one text, one meaning.

    Raises:
        WorkError: BSR-4018.

    """
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise WorkError(4018)
    key_id, time, nonce, mac = found.groups()
    raw = base64.urlsafe_b64decode(f"{mac}=")
    if _encode(raw) != mac:  # the last of 43 digits has two bits to spare
        raise WorkError(4018, "its base64url is not the canonical one")
    return Signature(key_id, int(time), nonce, raw)


def check(signature: Signature, key: bytes | None, signed: Signed, *, now: float, oldest: float) -> Verified:
    """Judge a signature.

    Args:
        signature: as it was read.
        key: of its key id; None when there is none.
        signed: what it must be over.
        now: the instance's clock, seconds since the epoch.
        oldest: seconds that a record for such a call may be old (`servicenow.expire`).

    Raises:
        WorkError: BSR-4019 unknown key, 4020 it does not fit, 4021 its time.

    """
    if key is None:
        raise WorkError(4019, f"'{signature.key_id}'")
    try:
        text = text_of(signed, signature.time, signature.nonce)
    except NotCanonical as error:
        raise WorkError(4020, str(error)) from None
    # The code first: of a signature that nobody made, its time tells nothing.
    if not hmac.compare_digest(hmac.digest(key, text, hashlib.sha256), signature.mac):
        raise WorkError(4020)
    refuse_untimely(signature, now=now, oldest=oldest)
    return Verified(signature.key_id, Nonce(signature.nonce, signature.time))


def refuse_untimely(signature: Signature, *, now: float, oldest: float) -> None:
    """Refuse a signature that cannot pass now, whatever its key; arguments as `check`.

    Raises:
        WorkError: BSR-4021.

    """
    age = now - signature.time
    if age > oldest + SKEW:
        raise WorkError(4021, f"{age:.0f} s old")
    if age < -SKEW:
        raise WorkError(4021, f"{-age:.0f} s ahead of ServiceNow's clock")


def forgettable(now: float, oldest: float) -> float:
    """The time before which no signature can pass any more, so that its nonce need not be known."""
    return now - oldest - SKEW


def text_of(signed: Signed, time: int, nonce: str) -> bytes:
    """The bytes that are signed.

    Raises:
        NotCanonical: a value has no canonical text.

    """
    return canonical(
        {
            "agent": signed.agent,
            "appliance": signed.appliance,
            "operation": signed.operation,
            "arguments": dict(signed.arguments),
            "correlator": signed.correlator,
            "by": signed.by,
            "time": time,
            "nonce": nonce,
        }
    )


def sign(key_id: str, key: bytes, signed: Signed, time: int, nonce: str) -> str:
    """The `relay_signature` of work, as ServiceNow's script makes it; for stand-ins and for people who compare.

    Raises:
        NotCanonical: a value has no canonical text.

    """
    mac = hmac.digest(key, text_of(signed, time, nonce), hashlib.sha256)
    return f"v1.{key_id}.{time}.{nonce}.{_encode(mac)}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
