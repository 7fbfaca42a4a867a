"""The configuration on disk against the one in use."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.living import QUICK, Living, living

from relay.host import watch


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon after a change."""
    monkeypatch.setattr(watch.FolderWatch.__init__, "__kwdefaults__", {"settle": 0.02, "look": 0.2})


def said(made: Living) -> str:
    """What the status says of the configuration, "" for nothing."""
    return next((one.error.text for one in made.process.conditions.all() if one.subject == "configuration"), "")


async def test_a_difference_is_told_and_undone(tmp_path: Path) -> None:
    """A changed file is BSR-1019 with the sections that differ, follows further changes, and ends when undone."""
    async with living(tmp_path) as made:
        made.configure(QUICK + "policy: {allow: []}\n")
        await made.until(lambda: said(made).endswith("in use: in policy"))
        made.configure(QUICK + "policy: {allow: []}\n", "another.yaml")
        made.configure("storage: {retention: 9d}\n", "other.yaml")
        await made.until(lambda: said(made).endswith("in policy, storage"))
        (one,) = [one for one in made.process.conditions.all() if one.subject == "configuration"]
        assert (one.error.code, one.error.entry.severity) == ("BSR-1019", "warning")
        assert "reload" in one.error.hint
        for name in ("another.yaml", "other.yaml"):
            (made.box.directory / "conf.d" / name).unlink()
        made.configure(QUICK + "# nothing new\n")
        await made.until(lambda: not said(made))
        assert made.manager.count("reloading") == 0


async def test_a_broken_file_is_told_before_somebody_reloads(tmp_path: Path) -> None:
    """A file with problems is told with their number, and what runs is not touched."""
    async with living(tmp_path) as made:
        made.configure("relay: {nam: x}\n", "zz.yaml")
        await made.until(lambda: "it has 1 problem, and a reload would be refused" in said(made))
        made.configure("relay: {nam: x, nme: y}\n", "zz.yaml")
        await made.until(lambda: "it has 2 problems" in said(made))
        made.put(1, ["typed health"])
        await made.answered(1)


async def test_a_reload_ends_the_difference(tmp_path: Path) -> None:
    """Once the files are in use by a reload there is no difference any more."""
    async with living(tmp_path) as made:
        made.configure(QUICK + "policy: {allow: []}\n")
        await made.until(lambda: said(made))
        await made.ask("reload")
        assert not said(made)
        made.configure(QUICK)
        await made.until(lambda: said(made).endswith("in policy"))


async def test_other_files_are_no_configuration(tmp_path: Path) -> None:
    """A file beside the configuration that is no part of it changes nothing."""
    async with living(tmp_path) as made:
        (made.box.directory / "notes.yaml").write_text("x: y\n")
        made.configure("relay: {nam: x}\n", "relay.yaml.bak")
        made.configure(QUICK + "policy: {allow: []}\n")
        await made.until(lambda: said(made))
        assert said(made).endswith("in policy")
