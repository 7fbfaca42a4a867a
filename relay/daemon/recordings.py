"""What keeps recordings, as the configuration says for each appliance."""

from __future__ import annotations

from collections.abc import Mapping

from relay.appliance.fleet import Fleet
from relay.appliance.recordings import Origin, RecordingSource
from relay.config.model import Settings
from relay.host.shelf import Shelf
from relay.servicenow.sessions import SessionRecords
from relay.sessions.keeper import Attach, RecordingKeeper, Store, Way
from relay.sessions.parts import Site


def keeper_of(
    settings: Settings, fleet: Fleet, records: Mapping[str, SessionRecords], sites: Mapping[str, Site]
) -> RecordingKeeper | None:
    """The keeper of the recordings of these sites; None where all of them are left at the appliances.

    `records` are by appliance, as `sites` are.
    """
    ways: dict[str, Way] = {}
    for name, site in sites.items():
        sessions = settings.sessions_of(name)
        if site.recordings == "attach":
            ways[name] = Attach(records[name], site.rows.session.name)
        elif site.recordings == "store" and sessions.recording_folder is not None:
            ways[name] = Store(Shelf(sessions.recording_folder, name), sessions.recording_name)
    if not ways:
        return None
    origins = {name: Origin(sites[name].product, settings.sessions_of(name).recording_bytes) for name in ways}
    return RecordingKeeper(RecordingSource(fleet, origins), ways)
