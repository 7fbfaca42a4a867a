"""Recordings as the configuration says, for each appliance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.appliance.fleet import Fleet
from relay.config.flows import SessionSettings
from relay.config.load import load
from relay.config.model import Settings
from relay.core.errors import ApplianceError
from relay.core.session_rows import Place
from relay.daemon.recordings import keeper_of
from relay.daemon.session_flow import sites_of
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.sandbox.box import Sandbox
from relay.sandbox.films import Film
from relay.servicenow.instance import Instance
from relay.sessions.ports import Recording


def settings_of(box: Sandbox, *each: dict[str, Any]) -> Settings:
    settings = load(box.config_file, {}).settings
    appliances = {
        name: one.model_copy(update={"sessions": SessionSettings.model_validate(sessions)})
        for (name, one), sessions in zip(settings.appliances.items(), each, strict=True)
    }
    return settings.model_copy(update={"appliances": appliances})


async def test_each_appliance_in_its_way(tmp_path: Path) -> None:
    """One is attached to a row of the table of its name, one stored under its pattern, one over its own cap."""
    store = {"recordings": "store", "recording_folder": str(tmp_path), "recording_name": "{lsid}{name}"}
    attach = {"recordings": "attach", "tables": {"session": {"table": "incident"}, "event": {"table": "e"}}}
    small = {"recordings": "attach", "recording_bytes": "1MiB"}
    async with Sandbox.start(tmp_path / "sandbox", products=("pra", "rs", "rs")) as box:
        settings = settings_of(box, attach, store, small)
        sites = sites_of(settings)
        fleet = Fleet.open(settings, SecretReader({}), Clock(), "1")
        instance = Instance.connect(settings.servicenow, "relay01", SecretReader({}), Clock())
        keeper = keeper_of(settings, fleet, {name: instance.sessions([]) for name in sites}, sites)
        assert keeper is not None
        row = box.servicenow.insert("incident", {})["sys_id"]
        film = Film(2 << 20)
        for name in ("default", "appliance2"):
            lsid = box.appliances[name].sessions.begin("ab" * 16, recording=film, end=0).lsid
            await keeper.keep(Recording(name, lsid, "screen", row, None, 0))
        lsid = box.appliances["appliance3"].sessions.begin(recording=film, end=0).lsid
        with pytest.raises(ApplianceError, match="BSR-3022"):
            await keeper.keep(Recording("appliance3", lsid, "screen", "", Place("incident", row), 0))
        (file,) = box.servicenow.tables.rows("sys_attachment")
        assert (file["table_name"], file["table_sys_id"], file["hash"]) == ("incident", row, film.sha256())
        assert (tmp_path / f"{'ab' * 16}screen").stat().st_size == film.size
        await fleet.aclose()
        await instance.aclose()


async def test_no_keeper_where_nothing_is_kept(tmp_path: Path) -> None:
    """Links and nothing need none."""
    async with Sandbox.start(tmp_path / "sandbox", products=("pra", "rs")) as box:
        settings = settings_of(box, {"recordings": "link"}, {"recordings": "none"})
        fleet = Fleet.open(settings, SecretReader({}), Clock(), "1")
        assert keeper_of(settings, fleet, {}, sites_of(settings)) is None
        await fleet.aclose()
