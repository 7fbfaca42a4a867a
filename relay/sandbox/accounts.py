"""API accounts of the appliance stand-in: tokens, lockout, rate limits, permissions."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.sandbox.web import Request, Response, json_response

_SECOND, _HOUR = 1.0, 3600.0


@dataclass(slots=True)
class Account:
    """An API account.

    Attributes:
        client_id: of the OAuth client.
        secret: of the OAuth client.
        command: right to the Command API: `deny`, `read_only` or `full_access`.
        reporting: right to the Reporting API.
        configuration: right to the Configuration API.
        per_second: most calls in a second; 0 means no limit.
        per_hour: most calls in an hour; 0 means no limit.
        token_life: `expires_in` of a token, seconds.
        live_tokens: most tokens that are valid at once; one more makes the oldest invalid.
        lock_after: failed logins in a row that lock the account; 0 means never.
        failed: failed logins in a row so far.
        issued: tokens issued so far.
        limited: calls refused because of the rate so far.

    """

    client_id: str
    secret: str
    command: str = "full_access"
    reporting: bool = True
    configuration: bool = True
    per_second: int = 20
    per_hour: int = 15_000
    token_life: float = 3600
    live_tokens: int = 30
    lock_after: int = 5
    failed: int = 0
    issued: int = 0
    limited: int = 0
    tokens: dict[str, float] = field(default_factory=dict, repr=False)
    calls: deque[float] = field(default_factory=deque, repr=False)

    @property
    def locked(self) -> bool:
        """Whether failed logins locked the account."""
        return bool(self.lock_after) and self.failed >= self.lock_after

    def revoke(self) -> None:
        """Make every token invalid, as a new client secret does."""
        self.tokens.clear()

    def count(self, now: float) -> bool:
        """Count a call; False when it is over a limit."""
        while self.calls and self.calls[0] <= now - _HOUR:
            self.calls.popleft()
        recent = 0
        for moment in reversed(self.calls):
            if moment <= now - _SECOND:
                break
            recent += 1
        if (self.per_second and recent >= self.per_second) or (self.per_hour and len(self.calls) >= self.per_hour):
            self.limited += 1
            return False
        self.calls.append(now)
        return True

    def headers(self) -> list[tuple[str, str]]:
        """The headers that tell how much of the hour is left."""
        if not self.per_hour:
            return []
        left = max(0, self.per_hour - len(self.calls))
        return [("X-RateLimit-Limit", str(self.per_hour)), ("X-RateLimit-Remaining", str(left))]


def over_limit(account: Account) -> Response:
    """The answer to a call that is one too many."""
    error = {"error": "too_many_requests", "message": "The rate limit for this API account was exceeded."}
    return json_response(429, error, account.headers())


def access_denied() -> Response:
    """The answer to a missing, wrong or expired token."""
    message = "The resource owner or authorization server denied the request."
    return json_response(401, {"error": "access_denied", "message": message})


class Accounts:
    """The accounts of one appliance. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.by_id: dict[str, Account] = {}
        self._clock = clock

    def add(self, account: Account) -> Account:
        """Make an account known."""
        self.by_id[account.client_id] = account
        return account

    def token(self, request: Request) -> Response:
        """Answer a post to `/oauth2/token`: Basic or body credentials, form or JSON."""
        if request.method != "POST":
            return json_response(405, {"error": "invalid_request"})
        fields = _fields(request)
        client, secret = _basic(request.header("authorization")) or (
            fields.get("client_id", ""),
            fields.get("client_secret", ""),
        )
        account = self.by_id.get(client)
        if account is None:
            return _bad_client()
        if not account.count(self._clock()):
            return over_limit(account)
        if account.locked or not secrets.compare_digest(account.secret.encode(), secret.encode()):
            account.failed += 1
            return _bad_client()
        if fields.get("grant_type") != "client_credentials":
            return json_response(400, {"error": "unsupported_grant_type"})
        account.failed = 0
        account.issued += 1
        token = secrets.token_urlsafe(40)
        account.tokens[token] = self._clock() + account.token_life
        while len(account.tokens) > account.live_tokens:
            del account.tokens[next(iter(account.tokens))]
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": int(account.token_life)}
        return json_response(200, answer, account.headers())

    def owner(self, request: Request) -> Account | None:
        """The account whose valid token the request carries."""
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer":
            return None
        for account in self.by_id.values():
            if account.tokens.get(token, 0.0) > self._clock():
                return account
        return None


def _fields(request: Request) -> dict[str, str]:
    if request.media_type == "application/json":
        try:
            value = json.loads(request.body)
        except ValueError:
            return {}
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
    return request.form()


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client, secret


def _bad_client() -> Response:
    return json_response(401, {"error": "invalid_client", "message": "Client authentication failed"})
