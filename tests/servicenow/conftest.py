"""An instance on loopback, and the relay's side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.ecc_table import FakeInstance
from support.server import Handler, HttpsServer
from support.tls import Authority, Certificate

from relay.config.load import load
from relay.config.model import ServiceNowSettings
from relay.core.session_rows import Table
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.sandbox.box import Sandbox
from relay.sandbox.schema import EVENT, SESSION
from relay.servicenow.instance import Instance
from relay.servicenow.sessions import SessionRecords

Connect = Callable[..., AbstractAsyncContextManager[tuple[Instance, HttpsServer]]]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """The file that holds the password or client secret."""
    file = tmp_path / "secret"
    file.write_text("hunter2hunter2\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def connect(authority: Authority, certificate: Certificate, secret_file: Path) -> Connect:
    """Starts a server for a handler and connects an `Instance` to it."""

    @asynccontextmanager
    async def start(handler: Handler, **settings: Any) -> AsyncIterator[tuple[Instance, HttpsServer]]:
        async with HttpsServer(handler, certificate) as server:
            values = {
                "url": server.url,
                "auth": {"basic": {"username": "svc", "password": {"file": str(secret_file)}}},
                "tls": {"ca_file": str(authority.ca_file)},
                "timeout": "5s",
                **settings,
            }
            instance = Instance.connect(
                ServiceNowSettings.model_validate(values), "relay01", SecretReader({}), Clock(), host_name="host1"
            )
            try:
                yield instance, server
            finally:
                await instance.aclose()

    return start


@pytest.fixture
def fake() -> FakeInstance:
    """A small ServiceNow."""
    return FakeInstance()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """The sandbox."""
    async with Sandbox.start(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
async def instance(box: Sandbox) -> AsyncIterator[Instance]:
    """The relay's side of the sandbox's instance."""
    settings = load(box.config_file, {}).settings.servicenow
    connected = Instance.connect(settings, "relay01", SecretReader({}), Clock())
    yield connected
    await connected.aclose()


@pytest.fixture
def records(instance: Instance) -> SessionRecords:
    """Where sessions go."""
    return instance.sessions([Table(SESSION), Table(EVENT)])


@pytest.fixture
def hasty(instance: Instance) -> Callable[[str], AbstractContextManager[None]]:
    """For as long as the block lasts an instance that hangs is waited for less than a second."""

    @contextmanager
    def wait_less(action: str) -> Iterator[None]:
        patience = instance.shared.timeout
        if action.startswith("hang"):
            instance.shared.timeout = 0.7
        try:
            yield
        finally:
            instance.shared.timeout = patience

    return wait_less
