"""Runs a sandbox as a process of its own, until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from relay.sandbox.box import Sandbox
from relay.sandbox.configured import write_private
from relay.sandbox.control import PATH, Control
from relay.sandbox.device import Product
from relay.sandbox.door import Door
from relay.sandbox.signin import KEY_ID, offer_certificate, offer_key

TOKEN_FILE = "control_token"


async def serve(
    directory: Path | None,
    products: Sequence[Product],
    ports: tuple[int, int, int],
    ready: Callable[[dict[str, Any]], None],
    seed: int = 0,
) -> None:
    """Run a sandbox with its control endpoint until SIGINT or SIGTERM.

    Args:
        directory: where its files go; None: a fresh temporary folder, removed at the end.
        products: one appliance of each.
        ports: of the instance, of the first appliance, and where the relay is to listen; 0 takes any free one.
        ready: is called once everything listens, with `Sandbox.facts()`, the control URL and the file of its token.
        seed: see `Sandbox.start`.

    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        start = Sandbox.start(
            directory,
            products=products,
            servicenow_port=ports[0],
            appliance_port=ports[1],
            relay_port=ports[2],
            seed=seed,
        )
        box = await stack.enter_async_context(start)
        control = Control(box)
        door = Door(control, box.authority.server("control"))
        stack.push_async_callback(door.leave)
        await door.open()
        offer_key(box)
        client = offer_certificate(box)
        token_file = box.directory / "credentials" / TOKEN_FILE
        write_private(token_file, control.token)
        more = {
            "jwt_key_id": KEY_ID,
            "client_certificate": str(client.certificate),
            "client_key": str(client.key),
            "control": door.url + PATH,
            "control_token_file": str(token_file),
        }
        ready({**box.facts(), **more})
        await stopped.wait()
