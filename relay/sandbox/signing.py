"""Signs work as a script of the instance does (`docs/signed-work.md`), with what the relay will make of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.core.signature import Signed, sign
from relay.sandbox.scripts import Record, parameters

KEY_ID = "sandbox"
_END = "</parameters>"


@dataclass(frozen=True, slots=True)
class Signer:
    """A script that has the key.

    Attributes:
        key: the text whose bytes are the key.
        clock: the instance's clock.
        by: the user who will write the records.

    """

    key: str = field(repr=False)
    clock: Callable[[], float]
    by: str = "system"

    def signed(self, row: Record, appliance: str, operation: str, arguments: Mapping[str, str]) -> Record:
        """The record with a `relay_signature` over this meaning of it, with a nonce of its own."""
        work = Signed(row["agent"], appliance, operation, arguments, row.get("agent_correlator", ""), self.by)
        text = sign(KEY_ID, self.key.encode(), work, int(self.clock()), secrets.token_hex(16))
        return with_signature(row, text)


def with_signature(row: Record, text: str) -> Record:
    """The record with one parameter more."""
    added = parameters([("relay_signature", text)]).partition("<parameters>")[2]
    return {**row, "payload": row["payload"].removesuffix(_END) + added}
