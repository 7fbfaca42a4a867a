"""A running sandbox, and clients that know nothing of it but its certificate and passwords."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from relay.sandbox.box import API_CLIENT, USER, Sandbox

Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """An instance, a PRA appliance named `default` and an RS one named `appliance2`."""
    async with Sandbox.start(tmp_path / "sandbox", products=("pra", "rs")) as running:
        yield running
        assert [error for door in running.doors.values() for error in door.errors] == []


@pytest.fixture
async def connect(box: Sandbox) -> AsyncIterator[Connect]:
    """Makes clients of the instance, each with a cookie jar of its own; logged in as the relay's user."""
    context = ssl.create_default_context(cafile=box.ca_file)
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []

        def make(url: str = "", **options: object) -> httpx.AsyncClient:
            options.setdefault("headers", {"Accept": "application/json"})
            if not url:
                options.setdefault("auth", (USER, box.secrets["servicenow_password"]))
            base = url or box.servicenow.url
            client = httpx.AsyncClient(verify=context, base_url=base, trust_env=False, timeout=10, **options)
            clients.append(client)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def client(connect: Connect) -> httpx.AsyncClient:
    """A client of the instance."""
    return connect()


@pytest.fixture
async def pra(box: Sandbox, connect: Connect) -> httpx.AsyncClient:
    """A client of the PRA appliance with a valid token."""
    return await logged_in(box, connect, "default")


@pytest.fixture
async def rs(box: Sandbox, connect: Connect) -> httpx.AsyncClient:
    """A client of the RS appliance with a valid token."""
    return await logged_in(box, connect, "appliance2")


async def logged_in(box: Sandbox, connect: Connect, name: str) -> httpx.AsyncClient:
    client = connect(box.appliances[name].url, headers={"Connection": "close", "Accept": "*/*"})
    answer = await client.post(
        "/oauth2/token",
        auth=(API_CLIENT, box.secrets["appliance_secret"]),
        data={"grant_type": "client_credentials"},
    )
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client
