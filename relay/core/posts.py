"""What an appliance posts: whose it is, what it says, and whether it was posted before.

An appliance repeats an event until it is answered 200, and sends no other before. So what comes from the right place is
always taken, and what cannot be read is a post too, one that says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from relay.core.addresses import Address, Network, closest
from relay.core.canonical import canonical
from relay.core.errors import ListenerError
from relay.core.secret import Secret

Kind = Literal["event", "approval"]

PATHS: Final[Mapping[str, Kind]] = {
    "/events": "event",
    "/api/x_bmgr_bomgar_pam/outbound_event/session_end": "event",
    "/x_bmgr_bomgar_pam_bomgar_post.do": "event",
    "/x_bmgr_bomgar_inte_bomgar_post.do": "event",
    "/approvals": "approval",
    "/x_bmgr_bomgar_pam_bomgar_endpoint_approval.do": "approval",
}
"""Where an appliance posts: our own names, and those of the vendor's ServiceNow applications."""

TOKEN: Final = "outbound_event_token"
"""The parameter that carries the token (vendor's guide for the ServiceNow integration of PRA)."""

LONGEST_BODY: Final = 256 * 1024
"""Bytes of a form. All custom fields of a session have 10 KB together (vendor's API documentation)."""
MOST_FIELDS: Final = 500
LONGEST_NAME: Final = 255

_FORM: Final = "application/x-www-form-urlencoded"
_HEX: Final = frozenset(b"0123456789ABCDEFabcdef")


@dataclass(frozen=True, slots=True)
class Sender:
    """How posts of one appliance are known.

    Attributes:
        appliance: its name in the configuration.
        networks: where they come from; empty: from anywhere.
        token: what they bring along; None: nothing. A sender without either is never found.

    """

    appliance: str
    networks: tuple[Network, ...] = ()
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a post is.

    `others` are appliances that the configuration cannot tell from this one: a session that the first does not know
    may be theirs.
    """

    appliance: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """The body of a post: its media type as the header has it, and the first `LONGEST_BODY` bytes, or one more."""

    media_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """What an appliance posted.

    Attributes:
        id: SHA-256 over appliance, path and content, hexadecimal: a repetition has the same.
        kind: an event, or a request for approval.
        appliance: whose it is.
        path: where it was posted, one of `PATHS`.
        fields: what the form holds, without the token; empty when it cannot be read.
        received: seconds since the epoch.
        others: see `Owner`.
        code: why it cannot be read, a number of the registry; None: it can.
        detail: what this occurrence adds to that.
        raw: the body of one that cannot be read, up to `LONGEST_BODY` bytes.

    """

    id: str
    kind: Kind
    appliance: str
    path: str
    fields: Mapping[str, str] = field(repr=False)
    received: float
    others: tuple[str, ...] = ()
    code: int | None = None
    detail: str = ""
    raw: bytes = field(default=b"", repr=False)


def expected(senders: Sequence[Sender], source: Address) -> bool:
    """Whether some appliance may post from this address."""
    return any(_distance(sender, source) is not None for sender in senders)


def owner_of(senders: Sequence[Sender], source: Address, query: bytes) -> Owner:
    """Whose a post is that came from `source` with this query: everything its sender is known by must be right.

    Of several that fit, those with a token come first, then those with the closest network, then those that the
    configuration names first.

    Raises:
        ListenerError: BSR-6002 when no appliance posts from there, BSR-6003 when the token is wrong.

    """
    readings = _readings(query)
    fitting: list[tuple[bool, int, str]] = []
    for sender in senders:
        right, distance = _is_token(sender.token, readings), _distance(sender, source)
        if right and distance is not None:
            fitting.append((sender.token is not None, distance, sender.appliance))
    if not fitting:
        raise ListenerError(6003 if expected(senders, source) else 6002)
    best = max(rank[:2] for rank in fitting)
    first, *others = (name for *rank, name in fitting if tuple(rank) == best)
    return Owner(first, tuple(others))


def post_of(owner: Owner, path: str, content: Content, received: float) -> Post:
    """The post of an owner at one of `PATHS`; one that cannot be read says why."""
    kind = PATHS[path]
    try:
        fields = read_form(content)
    except ListenerError as error:
        raw = content.body[:LONGEST_BODY]
        known = _digest(owner.appliance, path, hashlib.sha256(raw).hexdigest())
        return Post(known, kind, owner.appliance, path, {}, received, owner.others, error.number, error.detail, raw)
    return Post(_digest(owner.appliance, path, fields), kind, owner.appliance, path, fields, received, owner.others)


def read_form(content: Content) -> dict[str, str]:
    """The fields of a form, without the token.

    Raises:
        ListenerError: BSR-6005 when it is too large; BSR-6004 when it is no form, or one with two meanings.

    """
    if len(content.body) > LONGEST_BODY:
        raise ListenerError(6005, f"more than {LONGEST_BODY} bytes")
    if content.media_type.partition(";")[0].strip().lower() not in {"", _FORM}:
        raise ListenerError(6004, f"it is not of the type {_FORM}")
    parts = [part for part in content.body.split(b"&") if part]
    if not parts:
        raise ListenerError(6004, "it is empty")
    if len(parts) > MOST_FIELDS:
        raise ListenerError(6004, f"it has more than {MOST_FIELDS} fields")
    fields: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name, value = (_decoded(text, number) for text in part.partition(b"=")[::2])
        if not 0 < len(name) <= LONGEST_NAME:
            raise ListenerError(6004, f"the name of field {number} has {len(name)} characters")
        if fields.setdefault(name, value) != value:
            raise ListenerError(6004, f"field {number} has the name of another one, and another value")
    fields.pop(TOKEN, None)
    return fields


def _decoded(text: bytes, number: int) -> str:
    """A name or value, decoded once; what has no one meaning is refused."""
    pieces = text.split(b"%")[1:]
    if not all(len(piece) > 1 and _HEX.issuperset(piece[:2]) for piece in pieces):
        raise ListenerError(6004, f"field {number} has a broken escape")
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise ListenerError(6004, f"field {number} is not UTF-8") from None


def _readings(query: bytes) -> tuple[bytes, ...]:
    """What the query's token may be; nothing when there is none, or more than one.

    Why two readings: a token of base64 may hold a plus sign, and who pastes it into the appliance's URL means the sign
    and not the space that a form would make of it.
    """
    pairs = (part.partition(b"=") for part in query.split(b"&"))
    found = [value for name, _, value in pairs if unquote_to_bytes(name) == TOKEN.encode()]
    if len(found) != 1:
        return ()
    return unquote_to_bytes(found[0]), unquote_to_bytes(found[0].replace(b"+", b" "))


def _is_token(token: Secret | None, readings: tuple[bytes, ...]) -> bool:
    """Whether one of the readings is the token, in a time that tells neither where they differ nor how long it is."""
    if token is None:
        return True
    right = hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).digest()
    results = [hmac.compare_digest(right, hashlib.sha256(reading).digest()) for reading in readings]
    return any(results)


def _distance(sender: Sender, source: Address) -> int | None:
    """How close the sender's networks are to the address; None when it is not from there."""
    if not sender.networks:
        return None if sender.token is None else -1
    return closest(sender.networks, source)


def _digest(appliance: str, path: str, what: Mapping[str, str] | str) -> str:
    fields = sorted(map(list, what.items())) if isinstance(what, Mapping) else what
    return hashlib.sha256(canonical([appliance, path, fields])).hexdigest()
