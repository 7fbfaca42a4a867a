"""The real daemon with marked secrets, and everything that is seen of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.daemon.client import ask
from relay.sandbox.access import User
from relay.sandbox.box import USER
from relay.sandbox.configured import write_private
from support.canary import Marks, files, process
from support.daemon import World, world

QUICK = "servicenow: {poll: {interval: 100ms}, settle: 1s, timeout: 3s}\nlogging: {level: debug}\n"
COMMANDS = (
    ("status", "--json"),
    ("status",),
    ("jobs", "list"),
    ("jobs", "list", "--json", "--state", "CLOSED"),
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "check"),
    ("policy", "list"),
    ("audit", "verify"),
    ("audit", "show"),
    ("audit", "export"),
    ("egress",),
)


@dataclass
class Watched:
    """A world whose secrets are marked, and everything that was seen of it so far."""

    world: World
    marks: Marks
    outputs: dict[str, bytes] = field(default_factory=dict)

    def credential(self, name: str) -> Path:
        """A file of a secret."""
        return self.world.box.directory / "credentials" / name

    def place(self, name: str) -> str:
        """The same as the configuration writes it."""
        return f"{{file: {self.credential(name)}}}"

    def see(self, name: str, text: str | bytes) -> None:
        """Remember an output."""
        self.outputs[f"{len(self.outputs)}: {name}"] = text if isinstance(text, bytes) else text.encode()

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command and remember what it said."""
        code, out, err = await self.world.run(*arguments)
        self.see(" ".join(arguments), out + err)
        return code, out, err

    async def ask(self, command: str, **arguments: str) -> Any:
        """Ask the control socket and remember what it said."""
        state = self.world.state
        told = await asyncio.to_thread(ask, [state / "control.sock"], state, command, arguments)
        self.see(command, json.dumps(told, ensure_ascii=False))
        return told

    async def until(self, holds: Callable[[set[str]], bool]) -> None:
        """Wait until this holds of the codes that the daemon shows."""
        async with asyncio.timeout(40):
            while True:
                told = await self.ask("status")
                codes = {one["code"] for one in told["conditions"]}
                if holds(codes):
                    return
                await asyncio.sleep(0.05)

    async def until_wrong(self, code: str) -> None:
        """Wait until the daemon shows this code."""
        await self.until(lambda codes: code in codes)

    async def until_right(self) -> None:
        """Wait until nothing is wrong."""
        await self.until(lambda codes: not codes)

    async def work(self, seed: int) -> None:
        """Some ordinary work, done."""
        self.world.put(8, seed=seed)
        await self.world.processed()

    def put(self, *rows: dict[str, str]) -> list[str]:
        """Put records of our own into the queue."""
        return [self.world.box.servicenow.insert("ecc_queue", row)["sys_id"] for row in rows]

    async def look(self, commands: Sequence[tuple[str, ...]] = COMMANDS[:1]) -> None:
        """Ask for what can be asked for, and look at the process."""
        for number, text in process(self.world.daemon.pid).items():
            self.see(number, text)
        for command in commands:
            await self.run(*command)
        rows = self.world.box.servicenow.tables.rows("ecc_queue")
        jobs = [row["sys_id"] for row in rows if row["queue"] == "output"]
        await self.run("jobs", "show", jobs[0])
        for job in jobs:
            await self.ask("jobs show", id=job)

    def at_rest(self) -> dict[str, bytes]:
        """Every file beneath the test's folder but those whose purpose is to hold a secret, and every message."""
        top = self.world.box.directory.parent
        key = self.world.state.with_name(self.world.state.name + "-key")
        hold = [self.world.box.directory / "credentials", self.world.box.directory / "conf.d", *key.glob("*key*")]
        hold += [path for path in top.rglob("*.key") if key not in path.parents]
        messages = "\n".join(map(str, self.world.manager.messages))
        return {**files([top], hold), **self.outputs, "service manager": messages.encode()}

    def at_servicenow(self) -> dict[str, bytes]:
        """What the relay wrote to the instance."""
        tables = self.world.box.servicenow.tables
        rows = [row for row in tables.rows("ecc_queue") if row["queue"] == "input"]
        return {
            row["sys_id"]: json.dumps(row, ensure_ascii=False).encode() for row in [*rows, *tables.rows("ecc_agent")]
        }


def set_password(watched: Watched, password: str) -> None:
    """Let the relay's user have this password at the instance, and end its sessions."""
    access = watched.world.box.servicenow.access
    access.add(User(USER, password, access.users[USER].roles))
    access.revoke()


@asynccontextmanager
async def watched(tmp_path: Path, drop_in: str = QUICK, **extra: str) -> AsyncIterator[Watched]:
    """A sandbox with marked secrets in all the places where it has some; the daemon is not started."""
    (tmp_path / "tmp").mkdir()
    environ = {"TMPDIR": str(tmp_path / "tmp"), **extra}
    async with world(tmp_path, products=("pra",), drop_in=drop_in, start=False, **environ) as made:
        one = Watched(made, Marks())
        box, marks = made.box, one.marks
        password, secret = marks.make("password"), marks.make("appliance secret")
        set_password(one, password)
        box.appliance.accounts.by_id["relay-api-client"].secret = secret
        for name, text in (("servicenow_password", password), ("appliance_secret", secret)):
            write_private(one.credential(name), text)
        marks.add("storage key", one.credential("storage_key").read_text())
        for name in ("servicenow_client", "signature_key"):
            marks.add(name, one.credential(name).read_text())
        yield one


def learn_what_was_issued(one: Watched) -> None:
    """Search also for the tokens and session cookies that both stand-ins gave out."""
    access = one.world.box.servicenow.access
    issued = [*access.sessions, *access._tokens, *access._refresh]
    for account in one.world.box.appliance.accounts.by_id.values():
        issued += account.tokens
    for number, text in enumerate(issued):
        one.marks.add(f"token {number}", text)
