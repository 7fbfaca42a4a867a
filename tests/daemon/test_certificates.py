"""Certificates that end soon, in the daemon's health and figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.living import QUICK, Living, end, living, make, write_drop_in

from relay.daemon import certificates
from relay.host import watch
from relay.sandbox.box import Sandbox
from relay.sandbox.signin import offer_certificate


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(certificates, "LOOK", 0.1)
    monkeypatch.setattr(watch.FolderWatch.__init__, "__kwdefaults__", {"settle": 0.02, "look": 0.2})


async def show(made: Living, name: str, days: float) -> None:
    """From now on this side shows a certificate that ends in so many days."""
    door = made.box.doors[name]
    await door.close()
    door.context = made.box.authority.server(name, days=days)
    await door.open()


async def test_a_server_s_certificate_ends(tmp_path: Path) -> None:
    """30 days before its end a certificate is a warning, 7 days before an error, and a new one ends that."""
    async with living(tmp_path) as made:
        await made.until(lambda: made.box.servicenow.requests["poll"] > 2)
        made.supervisor._certificates.look()
        assert made.codes() == {}
        for days, code in ((29.0, "BSR-2022"), (20.0, "BSR-2022"), (6.0, "BSR-2023")):
            await show(made, "servicenow", days)
            await made.until(lambda code=code: made.codes().get("server certificate, servicenow") == code)  # type: ignore[misc]
        (one,) = [one for one in made.process.conditions.all() if "certificate" in one.subject]
        assert one.error.entry.severity == "error"
        await show(made, "servicenow", 300.0)
        await made.until(lambda: made.codes() == {})
        await show(made, "default", 20.0)
        made.put(1, ["typed health"])
        await made.answered(1)
        await made.until(lambda: made.codes() == {"server certificate, appliance default": "BSR-3016"})


async def test_what_is_said_follows_the_certificate(tmp_path: Path) -> None:
    """When a certificate is replaced by one that ends soon as well, the health names the new one's day."""
    async with living(tmp_path) as made:

        def texts() -> set[str]:
            return {one.error.text for one in made.process.conditions.all() if "certificate" in one.subject}

        await show(made, "servicenow", 25.0)
        await made.until(texts)
        (first,) = texts()
        await show(made, "servicenow", 15.0)
        await made.until(lambda: texts() and texts() != {first})


async def test_our_own_certificate_ends(tmp_path: Path) -> None:
    """Our own certificate is told before anything was connected, and its end stands in the figures."""
    async with Sandbox.start(tmp_path / "box") as box:
        shown = offer_certificate(box)
        certificate, key, _ = box.authority.client("servicenow_client", days=5.0)
        assert (certificate, key) == (shown.certificate, shown.key)
        write_drop_in(box, f"{QUICK}  tls: {{client_certificate: {certificate}, client_key: {{file: {key}}}}}\n")
        made = make(box)
        made.supervisor._certificates.look()
        assert made.codes() == {"client certificate, servicenow": "BSR-1027"}
        try:
            made.start()
            await made.until(lambda: box.servicenow.requests["poll"])
            await made.supervisor._look()
            sample = made.process.figures.metrics.registry.get_sample_value
            name = "bseries_relay_certificate_expiry_seconds"
            own = sample(name, {"target": "servicenow", "certificate": "client"})
            theirs = sample(name, {"target": "servicenow", "certificate": "server"})
            assert own is not None
            assert theirs is not None
            assert own - made.process.clock.wall() == pytest.approx(5 * 86400, abs=60)
            assert theirs - made.process.clock.wall() == pytest.approx(365 * 86400, abs=60)
            box.authority.client("servicenow_client")
            await made.until(lambda: made.codes() == {})
        finally:
            await end(made)
