"""What `policy test` says of a call's signature: whether it needs one, what is to be signed, whether one fits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config.model import Settings
    from relay.core.jobs import Json
    from relay.core.policy_values import Allowed
    from relay.core.signature import Signature, Signed


@dataclass(frozen=True, slots=True)
class Row:
    """What the record besides its work says: its user, its correlator, its signature."""

    by: str = ""
    correlator: str = ""
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is to say.

    Attributes:
        required: the call passes only with a signature.
        text: the canonical text, what is signed.
        wrong: `BSR-nnnn: ...` of a signature that does not fit.
        key_id: the key of one that does.
        given: a signature was given; without one its time is 0 and its nonce empty in the text.

    """

    required: bool
    text: str
    wrong: str = ""
    key_id: str = ""
    given: bool = False

    def facts(self) -> dict[str, Json]:
        """As JSON."""
        fits = not self.wrong if self.given else None
        return {"fits": fits, "key_id": self.key_id or None, "error": self.wrong or None, "text": self.text or None}

    def lines(self) -> Iterator[str]:
        """For people."""
        if not self.given:
            yield f"  signature: {'required' if self.required else 'not required'}"
            return
        yield f"  signature: {self.wrong or f'fits, made with key {self.key_id}'}"
        yield f"  signed:    {self.text}"


def judge(settings: Settings, ruling: Allowed, row: Row) -> Findings:
    """Look at a call's signature; how old it is plays no part.

    Raises:
        ConfigError: its key cannot be read here.

    """
    from relay.core.errors import WorkError  # noqa: PLC0415  # `--help` stays light
    from relay.core.signature import Signed, needed, parse  # noqa: PLC0415  # as above

    servicenow, request = settings.servicenow, ruling.request
    signed = Signed(
        agent=f"mid.server.{settings.relay.name}",
        appliance=request.appliance,
        operation=request.operation,
        arguments=ruling.arguments,
        correlator=row.correlator,
        by=row.by,
    )
    required = needed(servicenow.require_signature, safe=ruling.harmless, by_operation=ruling.require_signature)
    if row.signature is None:
        return Findings(required, _text(signed, 0, ""))
    text = ""
    try:
        signature = parse(row.signature)
        text = _text(signed, signature.time, signature.nonce)
        _check(settings, signed, signature)
    except WorkError as error:
        return Findings(required, text, wrong=error.text, given=True)
    return Findings(required, text, key_id=signature.key_id, given=True)


def _text(signed: Signed, time: int, nonce: str) -> str:
    """What is signed; "" of what cannot be, since a value of the command line is no Unicode."""
    from relay.core.canonical import NotCanonical  # noqa: PLC0415  # as above
    from relay.core.signature import text_of  # noqa: PLC0415  # as above

    try:
        return text_of(signed, time, nonce).decode()
    except NotCanonical:
        return ""


def _check(settings: Settings, signed: Signed, signature: Signature) -> None:
    """Judge a signature with the configured key.

    Raises:
        WorkError: it does not fit.
        ConfigError: its key cannot be read here.

    """
    from relay.core.signature import check  # noqa: PLC0415  # as above
    from relay.host.clock import Clock  # noqa: PLC0415  # as above
    from relay.host.secrets import SecretReader  # noqa: PLC0415  # as above
    from relay.host.signing_keys import ConfiguredKeys  # noqa: PLC0415  # as above

    keys = ConfiguredKeys(settings.servicenow.signature_keys, SecretReader(os.environ), Clock())
    check(signature, keys.of(signature.key_id), signed, now=signature.time, oldest=0.0)
