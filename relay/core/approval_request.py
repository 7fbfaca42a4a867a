"""A post as a request for approval, and a request as bytes for the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from typing import Final
from urllib.parse import unquote_to_bytes

from relay.core.approval_fields import REQUEST_ID, RESPONSE_URL, TICKET_ID
from relay.core.approval_values import Request
from relay.core.canonical import canonical
from relay.core.posts import MOST_FIELDS, TOKEN, Post

LONGEST_ID: Final = 255
_ID: Final = re.compile(rf"[!-~]{{1,{LONGEST_ID}}}", re.ASCII)
"""Why no spaces and no other scripts: an appliance that reads ` 4711` or full-width digits as 4711 would take the
answer to one request for the answer to another, and nobody would have seen that two of one id came."""
TOO_LARGE: Final = 6005


class UnanswerableError(ValueError):
    """A post that nobody can be answered about: it does not say which request it is, or where the answer goes."""


def request_of(post: Post) -> Request:
    """The request that a post is.

    A form that names a field twice with different values has no one meaning, so that it can only be denied; that is
    still possible when its id and the way back have one.

    Raises:
        UnanswerableError: says why.

    """
    fields, flaw = (post.fields, "") if post.code is None else _salvaged(post)
    for name in (REQUEST_ID, RESPONSE_URL):
        if not fields.get(name):
            raise UnanswerableError(f"the request has no {name}")
    request_id = fields[REQUEST_ID]
    if _ID.fullmatch(request_id) is None:
        raise UnanswerableError(f"{REQUEST_ID} is longer than {LONGEST_ID} characters, or not visible ASCII")
    return Request(
        appliance=post.appliance,
        request_id=request_id,
        ticket_id=fields.get(TICKET_ID, ""),
        response_url=fields[RESPONSE_URL],
        path=post.path,
        fields=fields,
        received=post.received,
        flaw=flaw,
    )


def job_of(appliance: str, request_id: str) -> str:
    """The id of a request's job: the same for each post of the request."""
    return hashlib.sha256(canonical(["approval", appliance, request_id])).hexdigest()


def stored(request: Request) -> bytes:
    """A request as bytes, for `restored`."""
    value = [request.appliance, request.path, request.received, request.flaw, dict(request.fields)]
    return json.dumps(value, ensure_ascii=True).encode()


def restored(data: bytes) -> Request:
    """The request that `stored` wrote."""
    appliance, path, received, flaw, fields = json.loads(data)
    names = (fields[REQUEST_ID], fields.get(TICKET_ID, ""), fields[RESPONSE_URL])
    return Request(appliance, *names, path=path, fields=fields, received=received, flaw=flaw)


def _salvaged(post: Post) -> tuple[dict[str, str], str]:
    """The fields with one value in a form that cannot be read as a whole, and what is wrong with the form."""
    found: dict[str, set[str]] = defaultdict(set)
    parts = post.raw.split(b"&", MOST_FIELDS)
    # Of more fields than any form has nothing is read: who posts such must not cost whoever waits for a decision.
    if len(parts) > MOST_FIELDS:
        parts = []
    # The last field of a form that is too large was cut: half an id may be another request's.
    for part in parts[:-1] if post.code == TOO_LARGE else parts:
        name, value = (unquote_to_bytes(text.replace(b"+", b" ")) for text in part.partition(b"=")[::2])
        found[name.decode("utf-8", "replace")].add(value.decode("utf-8", "replace"))
    found.pop(TOKEN, None)
    twice = sorted(name for name, values in found.items() if len(values) > 1)
    flaw = f"it says {', '.join(twice[:3])} more than once" if twice else "it cannot be read"
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}, flaw
