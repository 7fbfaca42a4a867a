"""systemd holds the listener's socket and hands it to the relay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.breakage import environment
from support.daemon import FAST, world
from support.lives import Life, eventually

from relay.sandbox.box import free_port
from relay.sandbox.lifelike import Lives

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed"
)


async def test_a_post_starts_the_relay_and_is_taken(tmp_path: Path) -> None:
    """The socket is systemd's: the post that came before the relay ran is answered 200, and the session is imported."""
    async with world(tmp_path, products=("pra",), start=False, drop_in=FAST, listens=True) as made:
        port = free_port()
        (recipient,) = made.box.appliance.outbound.recipients.values()
        configured = made.box.relay.rpartition(":")[2]
        recipient.way = made.box.way(recipient.way.url.replace(f":{configured}/", f":{port}/"))
        python = environment()["PYTHONPATH"]
        life = Life(made, wrapper=("systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-E", f"PYTHONPATH={python}"))
        await life.start()
        await eventually(lambda: "Listening on" in life.log.read_text())
        assert not made.events()
        lives = Lives(made.box.appliance)
        lives.end(lives.begin())
        await eventually(lambda: bool(made.box.servicenow.tables.rows("x_bsr_relay_session")))
        messages = made.box.appliance.outbound.messages
        await eventually(lambda: all(one.state == "delivered" for one in messages))
        (listening,) = [line for line in made.log() if line["event"] == "listener.listening"]
        assert (listening["passed"], listening["ports"]) == (True, [port])
        assert await life.stop() == 0
