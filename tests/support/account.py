"""An appliance's token endpoint and API, as small as the tests of one account need, and a clock to go with it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.appliance.client import Appliance
from relay.config.model import ApplianceAuth, ApplianceSettings, LimitSettings, TlsSettings
from relay.config.values import SecretRef
from relay.core.policy_values import ApplianceRequest
from relay.host.clock import Clock
from relay.host.exchange import Target
from relay.host.secrets import SecretReader
from relay.host.tls import TlsOptions, client_context
from support.server import Reply, Request, Response
from support.tls import Authority

DENIED = Response(
    401,
    json.dumps(
        {"error": "access_denied", "message": "The resource owner or authorization server denied the request."}
    ).encode(),
    {"content-type": "application/json"},
)


class ManualClock(Clock):
    """Stands still until a test moves it, or something sleeps by it."""

    __slots__ = ("now", "sleeps")

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class FakeAppliance:
    """Issues tokens to one account and answers calls that carry a valid one.

    Attributes:
        secret: the account's client secret.
        life: `expires_in` of new tokens.
        valid: tokens that calls may carry.
        answer: what a call with a valid token gets.
        refuse: what a call without one gets.
        token_reply: replaces the token endpoint's answer.

    """

    secret: str = "s3cret"
    life: float = 3600
    token_type: str = "Bearer"
    valid: set[str] = field(default_factory=set)
    answer: Callable[[Request], Reply | Awaitable[Reply]] = lambda _: Response(
        200, b"<ok/>", {"content-type": "text/xml; charset=UTF-8"}
    )
    refuse: Reply = DENIED
    token_reply: Reply | Callable[[Request], Any] = None
    token_requests: list[Request] = field(default_factory=list)
    calls: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Any:
        if request.path == "/oauth2/token":
            self.token_requests.append(request)
            if self.token_reply is not None:
                return self.token_reply(request) if callable(self.token_reply) else self.token_reply
            return self.issue(request)
        self.calls.append(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if request.path != "/check_health" and (scheme != "Bearer" or token not in self.valid):
            return self.refuse
        return self.answer(request)

    def issue(self, request: Request) -> Response:
        """What the token endpoint answers by itself."""
        pair = base64.b64encode(f"client:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}" or request.form != {
            "grant_type": "client_credentials"
        }:
            return json_response(401, {"error": "invalid_client"})
        token = f"token-{len(self.token_requests)}"
        self.valid.add(token)
        return json_response(200, {"access_token": token, "token_type": self.token_type, "expires_in": self.life})


def json_response(status: int, value: object, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def account_settings(url: str, secret: Path, **changes: Any) -> ApplianceSettings:
    """An appliance's section; `changes` replace its keys, those of `limits` among them."""
    limits = {
        key: changes.pop(key)
        for key in ("requests_per_second", "requests_per_hour", "concurrent", "response_bytes")
        if key in changes
    }
    values: dict[str, Any] = {
        "product": "pra",
        "enabled": True,
        "url": url,
        "auth": ApplianceAuth.model_construct(client_id="client", client_secret=SecretRef("file", str(secret))),
        "tls": TlsSettings(),
        "proxy": None,
        "limits": LimitSettings().model_copy(update=limits),
        "timeout": 10.0,
    }
    return ApplianceSettings.model_construct(**{**values, **changes})


@dataclass
class Bench:
    """Makes appliances of the relay that talk to a fake one."""

    authority: Authority
    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)

    @property
    def secret_file(self) -> Path:
        """Where the client secret is."""
        return self.folder / "client_secret"

    def write_secret(self, text: str = "s3cret") -> None:
        """Write or rotate the client secret."""
        self.secret_file.write_text(text + "\n")
        self.secret_file.chmod(0o600)

    def make(self, url: str, *, answer_bytes: int = 5_000_000, **changes: Any) -> Appliance:
        """The relay's side of the appliance at this URL."""
        if not self.secret_file.exists():
            self.write_secret()
        settings = account_settings(url, self.secret_file, **changes)
        context = client_context(TlsOptions(ca_file=self.authority.ca_file))
        return Appliance(
            "default",
            settings,
            Target("appliance default", url, context, connect_timeout=3),
            SecretReader({}),
            answer_bytes=answer_bytes,
            version="1.2.3",
            clock=self.clock,
            sleep=self.clock.sleep,
        )


def work(path: str = "/api/command", **changes: Any) -> ApplianceRequest:
    """A call as the policy would have made it."""
    values: dict[str, Any] = {"appliance": "default", "operation": "op", "method": "GET", "path": path, **changes}
    return ApplianceRequest(**values)
