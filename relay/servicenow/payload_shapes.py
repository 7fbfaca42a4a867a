"""The shapes of ECC payloads as literal tables: what a topic's payload holds, and what is never read from it.

Sources: the script includes RESTMessage, SOAPMessage and MIDServerManage of ServiceNow's base system, its
documentation of RESTMessageV2 (`setEccParameter`), and captures of inputs in its knowledge base. No complete capture
of a payload made by RESTMessageV2 is public, hence the lenient reading; one real capture more is one row more here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MAX_PAYLOAD: Final = 1024 * 1024  # bytes of UTF-8; larger work belongs into an attachment, which no operation takes
MAX_PARAMETERS: Final = 200  # of different names; no operation takes as many arguments

SEE_ATTACHMENT: Final = "<see_attachment/>"


@dataclass(frozen=True, slots=True)
class Shape:
    """How one topic's payload is read.

    Attributes:
        kind: what it describes.
        once: parameters that must not be given twice; None means none at all may.

    """

    kind: Literal["http", "soap", "typed", "command", "heartbeat"]
    once: frozenset[str] | None = frozenset()


SIGNATURE: Final = "relay_signature"

HTTP_PARAMETERS: Final = frozenset(
    {"http_method", "source", "message_headers", "message_parameters", "content", SIGNATURE}
)

SHAPES: Final = {
    "RESTProbe": Shape("http", HTTP_PARAMETERS),
    "SOAPProbe": Shape("soap", frozenset({"source", SIGNATURE})),
    "BSeriesProbe": Shape("typed", None),
    "SystemCommand": Shape("command"),
    "HeartbeatProbe": Shape("heartbeat"),
}

RESERVED: Final = frozenset(
    {
        "http_method",
        "message_headers",
        "message_parameters",
        "content",
        "source",
        "skip_sensor",
        "workflow",
        "execution_sys_id",
        "appliance",
        "format",
        "operation",
        SIGNATURE,
    }
)
"""Parameters of a BSeriesProbe that are never arguments: RESTMessageV2 adds them, or the relay itself reads them."""

SECRET_NAMES: Final = frozenset({"username", "password", "client_secret"})
SECRET_PREFIXES: Final = ("rest_", "soap_")
SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-usertoken"})
ENCRYPTED: Final = "enc:"
"""A value of this prefix is encrypted for the key pair of a MID server and cannot be read here."""

NOT_ECHOED: Final = frozenset({SIGNATURE, "http_status_code", "output_encoding", "error_string", "ecc_queue"})
"""Parameters that an answer never copies: the signature, and those that the relay sets itself."""

OVERRIDES: Final = frozenset({"name", "source"})
"""Parameters that stand in for the record's field of the same name in an answer, as they do when the work is read."""

SALVAGED: Final = frozenset({"skip_sensor", "http_method", "workflow", "execution_sys_id"})
"""What is still echoed of an ill-formed payload: without `skip_sensor` the instance would look for a sensor."""


def is_secret_name(name: str) -> bool:
    """Whether what this name holds is dropped unread."""
    folded = name.strip().casefold()
    return folded in SECRET_NAMES or folded.startswith(SECRET_PREFIXES)


def is_encrypted(value: str) -> bool:
    """Whether the value is encrypted for somebody else."""
    return value.lstrip()[: len(ENCRYPTED)].casefold() == ENCRYPTED
