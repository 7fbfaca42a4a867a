"""Recordings between two real sides: attached or stored, one copy of each, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from relay.appliance.fleet import Fleet
from relay.appliance.recordings import Origin, RecordingSource
from relay.config.load import load
from relay.core.errors import RelayError
from relay.core.recordings import DEFAULT_PATTERN
from relay.core.session_rows import Place, Table
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.host.shelf import Shelf
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault
from relay.sandbox.films import Film
from relay.sandbox.reporting import EXPIRED
from relay.sandbox.schema import EVENT, SESSION
from relay.servicenow.instance import Instance
from relay.sessions.keeper import Attach, RecordingKeeper, Store
from relay.sessions.ports import Keeper, Recording

SIZE = 300_000
MOST = 1_000_000
ENDED = 1733240467


@dataclass
class World:
    """Both sides, and the relay between them."""

    box: Sandbox
    keeper: RecordingKeeper
    folder: Path
    task: Place
    row: str

    def recording(self, film: Film, *, box: str = "default", shell: Film | None = None, **facts: Any) -> Recording:
        """A session's recording, of a task."""
        shells = () if shell is None else (shell,)
        session = self.box.appliances[box].sessions.begin(recording=film, shells=shells, end=ENDED, **facts)
        return Recording(box, session.lsid, "screen", "", self.task, ENDED)

    def files(self) -> list[Any]:
        """What is attached."""
        return list(self.box.servicenow.tables.rows("sys_attachment"))

    def stored(self) -> list[str]:
        """The files in the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def asked(self, box: str = "default") -> Counter[str]:
        """How often each report was asked for."""
        return self.box.appliances[box].calls


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Recordings of `default` are attached, those of `appliance2` stored; an appliance must answer within 0.5 s."""
    folder = tmp_path / "recordings"
    await asyncio.to_thread(folder.mkdir)
    async with Sandbox.start(tmp_path / "sandbox", products=("pra", "rs")) as box:
        settings = load(box.config_file, {}).settings
        quick = {name: one.model_copy(update={"timeout": 0.5}) for name, one in settings.appliances.items()}
        clock, secrets = Clock(), SecretReader({})
        fleet = Fleet.open(settings.model_copy(update={"appliances": quick}), secrets, clock, "1")
        instance = Instance.connect(settings.servicenow, "relay01", secrets, clock)
        keeper = RecordingKeeper(
            RecordingSource(fleet, {"default": Origin("pra", MOST), "appliance2": Origin("rs", MOST)}),
            {
                "default": Attach(instance.sessions([Table(SESSION), Table(EVENT)]), SESSION),
                "appliance2": Store(Shelf(folder, "appliance2"), DEFAULT_PATTERN),
            },
        )
        task = Place("incident", box.servicenow.insert("incident", {})["sys_id"])
        row = box.servicenow.insert(SESSION, {})["sys_id"]
        yield World(box, keeper, folder, task, row)
        await fleet.aclose()
        await instance.aclose()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def error_of(keeper: Keeper, recording: Recording) -> RelayError:
    with pytest.raises(RelayError) as caught:
        await keeper.keep(recording)
    return caught.value


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("rows", [True, False])
async def test_a_recording_is_attached_once(world: World, rows: bool, told: bool) -> None:
    """To the session's row, without one to its task; with its size told it is fetched once and not read again."""
    film = Film(SIZE, told=told)
    recording = world.recording(film)
    recording = replace(recording, row=world.row) if rows else recording
    with structlog.testing.capture_logs() as logs:
        await world.keeper.keep(recording)
        assert world.asked()["AccessSessionRecording"] == (1 if told else 2)
        await world.keeper.keep(recording)
    (file,) = world.files()
    assert (file["table_name"], file["table_sys_id"]) == (
        (SESSION, world.row) if rows else ("incident", world.task.sys_id)
    )
    assert (file["file_name"], file["content_type"]) == (f"{recording.lsid}-screen.mp4", "video/mp4")
    assert (int(file["size_bytes"]), file["hash"]) == (SIZE, film.sha256())
    assert [line["new"] for line in logs if line["event"] == "sessions.recording_kept"] == [True, False]


async def test_a_session_without_row_and_task(world: World) -> None:
    """There is nothing to attach its recording to: it is not asked for, and the log says so."""
    recording = replace(world.recording(Film(SIZE)), task=None)
    with structlog.testing.capture_logs() as logs:
        await world.keeper.keep(recording)
    assert [line["event"] for line in logs] == ["sessions.recording_without_record"]
    assert world.asked()["AccessSessionRecording"] == 0


async def test_shells_are_files_of_their_own(world: World) -> None:
    """Each has its name and its bytes."""
    shell = Film(100, 7)
    recording = replace(world.recording(Film(SIZE), shell=shell), name="shell 0")
    await world.keeper.keep(recording)
    (file,) = world.files()
    assert (file["file_name"], file["hash"]) == (f"{recording.lsid}-shell-0.txt", shell.sha256())


def _written(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written anew; reading it changes other facts."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize("told", [True, False])
async def test_a_recording_is_stored_once(world: World, told: bool) -> None:
    """In a folder of its day, with its checksum; a repetition leaves it alone."""
    film = Film(SIZE, told=told)
    recording = world.recording(film, box="appliance2")
    await world.keeper.keep(recording)
    path = f"appliance2/2024-12-03/{recording.lsid}-screen.mp4"
    before = _written(world.folder / path)
    await world.keeper.keep(recording)
    assert world.stored() == [path, f"{path}.sha256"]
    content = (world.folder / path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == film.sha256()
    assert (world.folder / f"{path}.sha256").read_text() == f"{film.sha256()}  {recording.lsid}-screen.mp4\n"
    assert _written(world.folder / path) == before
    assert world.asked("appliance2")["SupportSessionRecording"] == 2


AFTER = [
    Fault("status after", status=500),
    Fault("reset after"),
    Fault("failure"),
    Fault("truncate"),
    Fault("cut"),
    Fault("late", seconds=0.05),
]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("fault", AFTER, ids=lambda fault: fault.action)
async def test_an_upload_of_unknown_outcome(world: World, fault: Fault, told: bool) -> None:
    """ServiceNow stored the file and did not say so: the repetition finds it, and there is one copy."""
    fault = replace(fault, lane="attachment", method="POST")
    world.box.servicenow.faults.add(fault)
    recording = world.recording(Film(SIZE, told=told))
    error = await error_of(world.keeper, recording)
    assert (error.code.startswith("BSR-2"), error.maybe_sent, fault.fired) == (True, True, 1)
    await world.box.servicenow.tables.until(lambda: len(world.files()) == 1)
    await world.keeper.keep(recording)
    assert len(world.files()) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_an_upload_that_is_refused(world: World, told: bool) -> None:
    """A 401 at the upload: counted before, the recording is fetched anew at once, else with the next try."""
    world.box.servicenow.faults.add(Fault("status", status=401, lane="attachment", method="POST"))
    recording = world.recording(Film(SIZE, told=told))
    if told:
        error = await error_of(world.keeper, recording)
        assert (error.code, error.retryable) == ("BSR-3004", True)
        assert world.files() == []
    await world.keeper.keep(recording)
    assert len(world.files()) == 1


@pytest.mark.parametrize("box", ["default", "appliance2"])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("fault", "number"),
    [(Fault("cut"), 3004), (Fault("drip", seconds=2.0), 3003), (Fault("hang after"), 3003), (Fault("reset"), 3004)],
    ids=lambda value: value.action if isinstance(value, Fault) else "",
)
async def test_an_appliance_that_ends_early(world: World, fault: Fault, number: int, told: bool, box: str) -> None:
    """Whatever came before, no part of a recording is attached or stored, and the next try has it whole."""
    lane = {"default": "AccessSessionRecording", "appliance2": "SupportSessionRecording"}[box]
    fault = replace(fault, lane=lane)
    world.box.appliances[box].faults.add(fault)
    recording = world.recording(Film(SIZE, told=told), box=box)
    error = await error_of(world.keeper, recording)
    assert (error.number, error.retryable, fault.fired) == (number, True, 1)
    assert (world.files(), world.stored()) == ([], [])
    await world.keeper.keep(recording)
    assert len(world.files()) + len(world.stored()) == (1 if box == "default" else 2)


async def test_a_recording_that_stalls_while_it_is_sent(world: World) -> None:
    """Counted whole and then cut off on its way to ServiceNow: nothing is attached, and the next try is a new one."""
    fault = Fault("cut", skip=1, lane="AccessSessionRecording")
    world.box.appliance.faults.add(fault)
    recording = world.recording(Film(SIZE, told=False))
    error = await error_of(world.keeper, recording)
    assert (error.number, fault.fired, world.files()) == (3004, 1, [])
    await world.keeper.keep(recording)
    assert len(world.files()) == 1


@pytest.mark.parametrize("box", ["default", "appliance2"])
async def test_refusals(world: World, box: str) -> None:
    """Expired, in any language; of another kind; over the cap: each has its code and words, nothing is kept."""
    appliance = world.box.appliances[box]
    recording = world.recording(Film(SIZE), box=box)
    session = appliance.sessions.by_id[recording.lsid]
    session.expired = True
    for language in EXPIRED:
        appliance.language = language  # type: ignore[assignment]
        assert (await error_of(world.keeper, recording)).number == 3021
    session.expired = False
    appliance.faults.add(Fault("content type", headers={"Content-Type": "text/html"}, path="/api/reporting"))
    assert (await error_of(world.keeper, recording)).number == 3013
    for told in (True, False):
        session.recording = Film(MOST + 1, told=told)
        error = await error_of(world.keeper, recording)
        assert error.number == 3022
        assert f"sessions.recording_bytes allows {MOST}" in error.text
        assert (str(MOST + 1) in error.text) == told
    assert (world.files(), world.stored()) == ([], [])


@pytest.mark.parametrize("lsid", ["../../etc/passwd", "..", "a/b", "x" * 200, "é^b", "-rf", ".sha256"])
async def test_hostile_names(world: World, lsid: str, tmp_path: Path) -> None:
    """Whatever an appliance calls a session: one attachment of a name that can be asked for, one file in the folder."""
    before = names(tmp_path)
    for box in ("default", "appliance2"):
        recording = world.recording(Film(SIZE), box=box, lsid=lsid)
        await world.keeper.keep(recording)
        await world.keeper.keep(recording)
    (file,) = world.files()
    assert len(file["file_name"]) <= 100
    assert len(world.stored()) == 2
    assert all(path.startswith("appliance2/2024-12-03/") and path.count("/") == 2 for path in world.stored())
    assert names(tmp_path) == before


async def test_two_recordings_share_a_task(world: World) -> None:
    """Names tell sessions apart, also of equal size; files that people attached are left alone."""
    for _ in range(2):
        await world.keeper.keep(world.recording(Film(SIZE)))
    assert len({file["file_name"] for file in world.files()}) == 2


async def test_a_recording_that_takes_too_long(world: World) -> None:
    """Bytes that come one by one, for ever, end at last, with an error that passes."""
    fault = Fault("drip", seconds=0.1, path="/api/reporting")
    world.box.appliance.faults.add(fault)
    recording = world.recording(Film(MOST))
    source, ways = world.keeper._source, world.keeper._ways
    error = await error_of(RecordingKeeper(source, ways, longest=0.7), recording)
    assert (error.code, error.detail) == ("BSR-3003", "default: a recording took more than 0.7 s")
    assert world.files() == []
    await world.keeper.keep(recording)
    assert len(world.files()) == 1


@pytest.mark.parametrize("box", ["default", "appliance2"])
async def test_a_stop_ends_what_is_under_way(world: World, box: str) -> None:
    """Nobody waits for gigabytes: the task is cancelled, nothing is kept in part, the next life has it whole."""
    fault = Fault("drip", seconds=0.2, path="/api/reporting")
    world.box.appliances[box].faults.add(fault)
    recording = world.recording(Film(MOST), box=box)
    keeping = asyncio.create_task(world.keeper.keep(recording))
    await world.box.appliances[box].until(lambda: bool(fault.fired))
    world.keeper.stop()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert (world.files(), world.stored()) == ([], [])
    with pytest.raises(asyncio.CancelledError):  # one that was on its way when the relay was told to stop
        await asyncio.create_task(world.keeper.keep(recording))
    next_life = RecordingKeeper(world.keeper._source, world.keeper._ways)
    await next_life.keep(recording)
    assert len(world.files()) + len(world.stored()) == (1 if box == "default" else 2)
    next_life.stop()
