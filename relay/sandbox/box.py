"""Both stand-ins together, with certificates, credentials and a ready configuration in one folder."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.sandbox.access import Client, User
from relay.sandbox.accounts import Account
from relay.sandbox.appliance import Appliance
from relay.sandbox.certificates import Authority
from relay.sandbox.configured import Listener, Target, write_configuration
from relay.sandbox.device import Product
from relay.sandbox.door import Door
from relay.sandbox.oracle import Summary, check
from relay.sandbox.outbound import Recipient
from relay.sandbox.poster import Way
from relay.sandbox.servicenow import ServiceNow
from relay.sandbox.signing import Signer
from relay.sandbox.work import Job, Maker

USER = "svc.relay"
OAUTH_CLIENT = "relay-oauth-client"
API_CLIENT = "relay-api-client"
DEFAULT_NAME = "default"


@dataclass(slots=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        directory: holds `ca.pem`, `credentials/` (0600 each), `relay.yaml` and, once a relay ran, its state.
        servicenow: the instance.
        appliances: the appliances by their name in the configuration; the first is `default`.
        doors: the listeners by `servicenow` and the appliances' names; closing one refuses connections.
        agent: `mid.server.` and the relay's name in the configuration.
        secrets: what the files in `credentials/` hold, by file name.
        jobs: the jobs that were put in.
        held: jobs that are made and not put in yet.
        trusted: certificates of authorities, besides the sandbox's own, that the appliances trust when they post.
        relay: where the relay listens by its configuration; "" where it does not.

    """

    directory: Path
    authority: Authority
    servicenow: ServiceNow
    appliances: dict[str, Appliance]
    doors: dict[str, Door]
    agent: str = "mid.server.relay01"
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    jobs: list[Job] = field(default_factory=list, repr=False)
    held: list[Job] = field(default_factory=list, repr=False)
    trusted: list[Path] = field(default_factory=list)
    relay: str = ""

    @property
    def appliance(self) -> Appliance:
        """The first appliance."""
        return self.appliances[DEFAULT_NAME]

    @property
    def ca_file(self) -> Path:
        """The certificate authority, PEM."""
        return self.authority.ca_file

    @property
    def config_file(self) -> Path:
        """A configuration with which a relay works against this sandbox."""
        return self.directory / "relay.yaml"

    def put(self, jobs: Sequence[Job]) -> None:
        """Put jobs into the queue, and remember them for `check`."""
        for job in jobs:
            self.servicenow.insert("ecc_queue", job.row)
        self.jobs += jobs

    def maker(self, seed: int = 0, *, sign: bool = False) -> Maker:
        """Makes work for this sandbox; with `sign` its calls are signed with the key of the configuration."""
        signer = Signer(self.secrets["signature_key"], self.servicenow.now) if sign else None
        return Maker(self.agent, list(self.appliances.values()), seed, signer)

    def way(self, url: str, source: str = "", timeout: float = 30.0) -> Way:
        """How an appliance reaches `url` under the authorities that it trusts."""
        context = ssl.create_default_context(cafile=self.ca_file)
        for file in self.trusted:
            context.load_verify_locations(file)
        return Way(url, context if url.startswith("https:") else None, source, timeout)

    def listener(self, port: int) -> Listener:
        """Make what the relay listens with at `port`, and let the appliances post there."""
        certificate, key = self.authority.files("listener")
        file = self.directory / "listener.pem"
        file.write_bytes(certificate)
        file.chmod(0o644)
        self.secrets["listener_key"] = key.decode()
        for name, appliance in self.appliances.items():
            token = self.secrets[f"event_token_{name}"] = secrets.token_urlsafe(24)
            url = f"https://localhost:{port}/events?outbound_event_token={token}"
            appliance.outbound.add(Recipient("relay", self.way(url), retry_interval=0.2))
        self.relay = f"https://localhost:{port}"
        return Listener(port, file)

    def trust(self, file: str) -> None:
        """Let the appliances trust the authorities in a PEM file too, from the next `way` on."""
        if Path(file) not in self.trusted:
            self.trusted.append(Path(file))

    def check(self, *, final: bool = False) -> Summary:
        """Judge the jobs that were put in, see `relay.sandbox.oracle`."""
        return check(self.servicenow, self.appliances.values(), self.jobs, final=final)

    def facts(self) -> dict[str, Any]:
        """What somebody needs who wants to use the sandbox, as JSON; no secret."""
        return {
            "directory": str(self.directory),
            "ca_file": str(self.ca_file),
            "config": str(self.config_file),
            "servicenow": self.servicenow.url,
            "appliances": {name: device.url for name, device in self.appliances.items()},
            "credentials": {name: str(self.directory / "credentials" / name) for name in self.secrets},
            "servicenow_user": USER,
            "oauth_client_id": OAUTH_CLIENT,
            "api_client_id": API_CLIENT,
            "agent": self.agent,
            "relay": self.relay,
        }

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        directory: Path | None = None,
        *,
        products: Sequence[Product] = ("pra",),
        servicenow_port: int = 0,
        appliance_port: int = 0,
        relay_port: int | None = None,
        seed: int = 0,
    ) -> AsyncIterator[Sandbox]:
        """Run a sandbox in this event loop until the block ends.

        Args:
            directory: where the files go; absent: a fresh temporary folder that is removed at the end.
            products: one appliance of each; the first is named `default`, the others `appliance2`, ...
            servicenow_port: 0 takes any free port.
            appliance_port: of the first appliance; 0 takes any free port.
            relay_port: where the relay is to listen for what the appliances post; 0 takes any port that is free now.
                None: it does not listen, and no session comes home by itself.
            seed: makes session ids and the order of batch answers the same again.

        """
        async with contextlib.AsyncExitStack() as stack:
            if directory is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bseries-relay-sandbox-")))
            box = _make(directory, products, seed)
            for door in box.doors.values():
                stack.push_async_callback(door.leave)
            await box.doors["servicenow"].open(servicenow_port)
            box.servicenow.url = box.doors["servicenow"].url
            for name, appliance in box.appliances.items():
                await box.doors[name].open(appliance_port if name == DEFAULT_NAME else 0)
                appliance.url = box.doors[name].url
                stack.push_async_callback(appliance.outbound.close)
            targets = [Target(name, row.url, row.product) for name, row in box.appliances.items()]
            instance = Target(box.agent.removeprefix("mid.server."), box.servicenow.url)
            listener = None if relay_port is None else box.listener(relay_port or free_port())
            write_configuration(directory, box.ca_file, box.secrets, instance, targets, listener=listener)
            yield box


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _make(directory: Path, products: Sequence[Product], seed: int) -> Sandbox:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority(directory)
    made = {
        name: secrets.token_urlsafe(24)
        for name in ("servicenow_password", "servicenow_client", "appliance_secret", "signature_key")
    }
    instance = ServiceNow(seed)
    instance.access.add(User(USER, made["servicenow_password"], frozenset({"mid_server", "itil"})))
    instance.access.add(User("admin", secrets.token_urlsafe(24), frozenset({"admin", "itil"})))
    for user in instance.access.users.values():
        _record(instance, user)
    instance.access.clients[OAUTH_CLIENT] = Client(OAUTH_CLIENT, made["servicenow_client"], USER)
    doors = {"servicenow": Door(instance, authority.server("servicenow"), instance.behaviour)}
    appliances: dict[str, Appliance] = {}
    for number, product in enumerate(products, 1):
        name = DEFAULT_NAME if number == 1 else f"appliance{number}"
        appliances[name] = Appliance(name, product, seed + number)
        appliances[name].accounts.add(Account(API_CLIENT, made["appliance_secret"]))
        doors[name] = Door(appliances[name], authority.server(name))
    return Sandbox(directory, authority, instance, appliances, doors, secrets=made)


def _record(instance: ServiceNow, user: User) -> None:
    """What the instance's tables hold of a user who may come in."""
    tables = instance.tables
    person = tables.insert("sys_user", {"user_name": user.name, "name": user.name, "active": "true"})["sys_id"]
    for name in sorted(user.roles):
        known = tables.find("sys_user_role", f"name={name}")
        role = known[0] if known else tables.insert("sys_user_role", {"name": name})
        tables.insert("sys_user_has_role", {"user": person, "role": role["sys_id"], "state": "active"})
