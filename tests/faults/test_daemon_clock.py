"""The machine's clock set while records wait: nothing is executed twice, expired, or forgotten because of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.daemon import World, world
from support.lives import Life, eventually, impatient, jobs, rest

from relay.sandbox.access import JWT_BEARER
from relay.sandbox.box import OAUTH_CLIENT, USER
from relay.sandbox.signin import KEY_ID, offer_key

pytestmark = pytest.mark.faults

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
DROP_IN = (
    "servicenow:\n  poll: {interval: 100ms}\n  settle: 1s\n  expire: {unsafe: 4s}\n"
    "appliances:\n  default: {retry_for: 30m}\n  appliance2: {retry_for: 30m}\nstorage: {retention: 1h}\n"
)
KINDS = ["terminate", "typed session key", "session key", "attributes", "typed report"]
DAY = 86_400


class Shifted:
    """A life whose wall clock differs from ours by a number of seconds that may change while it runs."""

    def __init__(self, made: World, seconds: int = 0) -> None:
        if FAKETIME is None:
            pytest.skip("libfaketime is not installed")
        self._file = made.box.directory / "clock"
        self.set(seconds)
        environ = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.life = Life(made, ("-m", "support.killer", "{}"), environ=environ)

    def set(self, seconds: int) -> None:
        """Set the clock, seen by the next thing that asks for the time."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.rename(self._file)


async def waiting(made: World, number: int) -> None:
    """Work that is claimed and waits for appliances that cannot be reached."""
    for name in made.box.appliances:
        await made.box.doors[name].close()
    made.put(number, KINDS)
    await eventually(lambda: made.events().count("forward.not_executed") >= 4)


async def back(made: World) -> None:
    for name in made.box.appliances:
        await made.box.doors[name].open()


@pytest.mark.parametrize("jump", [DAY, -3600, -600, 240])
async def test_a_jump_while_work_waits(tmp_path: Path, jump: int) -> None:
    """After a jump of the clock the waiting work is done once, in time, and judged by ServiceNow's clock alone."""
    drop_in = DROP_IN.replace("unsafe: 4s", "unsafe: 2m")
    async with world(tmp_path, start=False, drop_in=drop_in) as made:
        shifted = Shifted(made)
        await shifted.life.start()
        await waiting(made, 10)
        shifted.set(jump)
        await asyncio.sleep(0.5)
        await back(made)
        summary = await rest(made, 20.0)
        assert set(summary.outcomes) <= {"http 200", "BSR-3001", "BSR-3015"}
        if jump < 0:
            assert summary.outcomes == {"http 200": 10}
        assert any(line["time"][:10] != made.log()[0]["time"][:10] for line in made.log()) == (abs(jump) >= DAY)


async def test_unsafe_work_that_expired_is_not_executed_whatever_our_clock_says(tmp_path: Path) -> None:
    """With our clock an hour back, unsafe work that is too old by ServiceNow's clock is answered BSR-4012."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        shifted = Shifted(made)
        await shifted.life.start()
        await waiting(made, 10)
        shifted.set(-3600)
        await asyncio.sleep(5.0)
        await back(made)
        summary = await rest(made)
        for kind in ("terminate", "typed session key", "session key"):
            assert summary.kinds[kind] == {"BSR-4012": 2}
        assert not any(device.effects.total() for device in made.box.appliances.values())


async def test_nothing_is_swept_under_a_false_clock(tmp_path: Path) -> None:
    """With a clock a day ahead finished jobs are kept though their retention seems over, and health says why."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        await impatient(made).start()
        made.put(5, ["typed report"], seed=1)
        await rest(made)
        shifted = Shifted(made, DAY)
        await shifted.life.start()
        made.put(5, ["typed report"], seed=2)
        await rest(made)
        assert jobs(made) == {"CLOSED": 10}


@pytest.mark.parametrize("hours", [-20, 20])
async def test_an_assertion_from_a_machine_whose_clock_is_wrong(tmp_path: Path, hours: int) -> None:
    """With our clock hours off the relay signs in by assertion: the first refusal brings ServiceNow's time."""
    async with world(tmp_path, start=False, drop_in=DROP_IN) as made:
        key, secret = offer_key(made.box), made.box.directory / "credentials" / "servicenow_client"
        application = f"client_id: {OAUTH_CLIENT}, client_secret: {{file: {secret}}}"
        jwt = f"{{{application}, key: {{file: {key}}}, key_id: {KEY_ID}, subject: {USER}}}"
        made.configure(f"servicenow: {{auth: {{basic: null, oauth_jwt: {jwt}}}}}\n", "zz.yaml")
        shifted = Shifted(made, hours * 3600)
        await shifted.life.start()
        made.put(4, ["typed health"])
        summary = await rest(made, 20.0)
        assert summary.outcomes == {"http 200": 4}
        assert dict(made.box.servicenow.access.grants) == {JWT_BEARER: 1}
        assert made.box.servicenow.access.assertions.refused
