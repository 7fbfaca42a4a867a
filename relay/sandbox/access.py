"""Who may come in: users, OAuth, sessions and the rate limit of the ServiceNow stand-in."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from relay.sandbox.assertions import Assertions
from relay.sandbox.web import Request, Response, json_response


@dataclass(frozen=True, slots=True)
class User:
    """A user of the instance. `domain` `global` sees everything, another one only its own rows."""

    name: str
    password: str
    roles: frozenset[str] = frozenset()
    domain: str = "global"


@dataclass(slots=True)
class Session:
    """A login session: one transaction at a time, hence the lock."""

    id: str
    user: User
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth application. `user` is who a client-credentials token acts as."""

    id: str
    secret: str
    user: str


@dataclass(slots=True)
class RateLimit:
    """At most `limit` requests of a user in each window of `seconds`; 0 means no limit."""

    limit: int = 0
    seconds: float = 3600.0
    rule: str = "All Table API requests"
    counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def refuse(self, user: str, now: float) -> Response | None:
        """The refusal when this request is one too many."""
        if not self.limit:
            return None
        window = int(now // self.seconds)
        self.counts[user, window] = self.counts.get((user, window), 0) + 1
        if self.counts[user, window] <= self.limit:
            return None
        reset = (window + 1) * self.seconds
        detail = f"Rate limit of {self.limit} requests per hour for Table API exceeded"
        headers = [
            ("Retry-After", str(max(1, math.ceil(reset - now)))),
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Reset", str(int(reset))),
            ("X-RateLimit-Rule", self.rule),
        ]
        return failure(429, "Rate limit exceeded", detail, headers)


def failure(status: int, message: str, detail: str | None, headers: list[tuple[str, str]] | None = None) -> Response:
    """An error in the shape of the instance's REST APIs."""
    return json_response(status, {"error": {"message": message, "detail": detail}, "status": "failure"}, headers or ())


JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Access:
    """Users, OAuth applications and tokens, and the sessions by cookie.

    Attributes:
        grants: answered token requests by grant type.
        certificates: user names by the SHA-256 of their client certificates, hex.
        assertions: the keys that may sign in for users.
        wants_token: a session's cookie without an `Authorization` header is taken for a browser's and refused.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.users: dict[str, User] = {}
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, Session] = {}
        self.token_life = 1799
        self.tokens_issued = 0
        self.grants: Counter[str] = Counter()
        self.certificates: dict[str, str] = {}
        self.assertions = Assertions(clock)
        self.wants_token = False
        self._clock = clock
        self._tokens: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, tuple[str, str]] = {}

    def add(self, user: User) -> User:
        """Make a user known, or replace one of that name."""
        self.users[user.name] = user
        return user

    def revoke(self) -> None:
        """Make every token and session invalid, as a clone of the instance does."""
        self._tokens.clear()
        self._refresh.clear()
        self.sessions.clear()

    def revoke_refresh(self) -> None:
        """Make every refresh token invalid; the tokens that they gave live on."""
        self._refresh.clear()

    def authenticate(self, request: Request) -> User | None:
        """The user of a request; a cookie alone is no login. A header counts before a certificate."""
        scheme, _, rest = request.header("authorization").partition(" ")
        if scheme.lower() == "basic":
            name, password = _pair(rest)
            user = self.users.get(name)
            return (
                user if user is not None and secrets.compare_digest(user.password.encode(), password.encode()) else None
            )
        if scheme.lower() == "bearer":
            name, until = self._tokens.get(rest.strip(), ("", 0.0))
            return self.users.get(name) if until > self._clock() else None
        if self.wants_token and "JSESSIONID=" in request.header("cookie"):
            return None
        return self.users.get(self.certificates.get(request.certificate, ""))

    def session(self, request: Request, user: User) -> tuple[Session, list[tuple[str, str]]]:
        """The request's session and the cookies to set; a new one without a cookie of the same user."""
        cookies = dict(piece.strip().partition("=")[::2] for piece in request.header("cookie").split(";"))
        session = self.sessions.get(cookies.get("JSESSIONID", ""))
        if session is not None and session.user.name == user.name:
            return session, []
        session = Session(secrets.token_hex(16).upper(), user)
        self.sessions[session.id] = session
        return session, [
            ("Set-Cookie", f"JSESSIONID={session.id}; Path=/; HttpOnly; SameSite=None; Secure"),
            (
                "Set-Cookie",
                "glide_user_route=glide.a1b2c3; Max-Age=2147483647; Path=/; HttpOnly; SameSite=None; Secure",
            ),
        ]

    def token(self, request: Request) -> Response:
        """Answer a post to `/oauth_token.do`."""
        form = request.form() if request.media_type == "application/x-www-form-urlencoded" else {}
        client = self.clients.get(form.get("client_id", ""))
        if request.method != "POST" or client is None or client.secret != form.get("client_secret"):
            return _refused()
        response = self._grant(client, form)
        if response.status == 200:  # noqa: PLR2004 - HTTP's OK
            self.grants[form.get("grant_type", "")] += 1
        return response

    def _grant(self, client: Client, form: Mapping[str, str]) -> Response:
        grant = form.get("grant_type")
        if grant == "client_credentials":
            return self._issue(client, client.user, refresh=False)
        if grant == "password":
            user = self.users.get(form.get("username", ""))
            good = user is not None and user.password == form.get("password")
            return self._issue(client, user.name, refresh=True) if good and user is not None else _refused()
        if grant == "refresh_token":
            owner, name = self._refresh.get(form.get("refresh_token", ""), ("", ""))
            return self._issue(client, name, refresh=True) if owner == client.id else _refused()
        if grant == JWT_BEARER:
            subject = self.assertions.subject(client.id, form.get("assertion", ""))
            return self._issue(client, subject, refresh=False) if subject in self.users else _refused()
        return _refused()

    def _issue(self, client: Client, user: str, *, refresh: bool) -> Response:
        self.tokens_issued += 1
        token = secrets.token_urlsafe(48)
        self._tokens[token] = (user, self._clock() + self.token_life)
        answer = {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": self.token_life}
        if refresh:
            answer["refresh_token"] = secrets.token_urlsafe(48)
            self._refresh[str(answer["refresh_token"])] = (client.id, user)
        return json_response(200, answer)


def _refused() -> Response:
    return json_response(401, {"error_description": "access_denied", "error": "server_error"})


def _pair(text: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password
