"""What `/oauth2/token` answers, read strictly."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from relay.core.secret import Secret

_TOKEN = re.compile(r"[!-~]{1,8192}")

_ERRORS = frozenset(
    {
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_token",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""OAuth's error names. Others are not repeated in our own texts."""

LONGEST_LIFE = 86400.0
"""A token that claims to live longer is renewed daily all the same."""
SHORTEST_LIFE = 10.0
"""A token that claims less would be asked for with every call; one that really ends before is refused, and renewed."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token. Times are monotonic seconds."""

    secret: Secret
    issued: float
    expires: float


def read_token(body: bytes, now: float) -> Token | None:
    """The token of a 200's body; None when the body is no token answer.

    The type is compared in any case, and `expires_in` is obeyed whatever it says: appliances were seen to answer
    `bearer` and 1799 where the documentation has `Bearer` and 3600.
    """
    answer = _object(body)
    token, kind, life = answer.get("access_token"), answer.get("token_type"), answer.get("expires_in")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return None
    if isinstance(life, bool) or not isinstance(life, int | float) or life <= 0:
        return None
    if isinstance(life, float) and not math.isfinite(life):  # a whole number of any length is finite
        return None
    return Token(Secret(token), now, now + min(max(life, SHORTEST_LIFE), LONGEST_LIFE))


def error_name(body: bytes) -> str | None:
    """The OAuth error that a body names, when it is one of the known ones."""
    name = _object(body).get("error")
    return name if isinstance(name, str) and name in _ERRORS else None


def _object(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
