"""What the doctor's measurements mean."""

from __future__ import annotations

import pytest

from relay.core.codes import code_of
from relay.core.doctor import (
    APART,
    EARLIEST,
    Check,
    Folder,
    Sheet,
    ahead,
    apart,
    folder_trouble,
    room,
    was_set,
    worst,
)
from relay.core.space import KEEPSAKES, RESERVE


def test_what_was_not_made_needs_what_failed() -> None:
    """Checks come in the order of the plan; those after a failure are skipped and name it."""
    sheet = Sheet("servicenow", ("DNS", "TCP", "TLS", "sign-in"))
    sheet.wrong("TCP", 2001, "refused")
    sheet.ok("DNS", "127.0.0.1")
    checks = sheet.end()
    assert [(check.name, check.result) for check in checks] == [
        ("DNS", "ok"),
        ("TCP", "error"),
        ("TLS", "skipped"),
        ("sign-in", "skipped"),
    ]
    assert {check.detail for check in checks[2:]} == {"needs TCP"}
    assert {check.subject for check in checks} == {"servicenow"}


def test_several_findings_of_one_check_stay_together() -> None:
    """A check may find several things; one that the plan does not name comes last; a reason may be given."""
    sheet = Sheet("listener", ("certificate", "names"))
    sheet.ok("more")
    sheet.ok("names")
    sheet.wrong("certificate", 1026, "the server's")
    sheet.wrong("certificate", 1027, "the client's")
    assert [check.number for check in sheet.end()] == [1026, 1027, 0, 0]
    (alone,) = Sheet("x", ("certificate",)).end()
    assert (alone.result, alone.detail) == ("skipped", "there is no way to know")
    (skipped,) = Sheet("appliance x", ("enabled",)).end("it is not enabled")
    assert (skipped.result, skipped.detail) == ("skipped", "it is not enabled")


def test_a_code_tells_how_grave_a_check_is() -> None:
    """A check is as grave as its code says, unless it is told otherwise; it has the registry's cause and fix."""
    sheet = Sheet("x")
    sheet.wrong("a", 2001)
    sheet.wrong("b", 5001)
    sheet.wrong("c", 2021)
    sheet.wrong("d", 2001, result="warning")
    assert [check.result for check in sheet.checks] == ["error", "error", "warning", "warning"]
    first = sheet.checks[0]
    assert (first.code, first.cause, first.fix) == ("BSR-2001", code_of(2001).cause, code_of(2001).fix)
    good = Check("x", "y", "ok")
    assert (good.code, good.cause, good.fix) == ("", "", "")


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        (["ok", "skipped"], "ok"),
        ([], "ok"),
        (["ok", "warning", "skipped"], "warning"),
        (["warning", "error", "ok"], "error"),
    ],
)
def test_the_worst_counts(results: list[str], wanted: str) -> None:
    """An error outweighs warnings, a warning what is well; what was skipped is no matter."""
    assert worst(Check("x", "y", result) for result in results) == wanted  # type: ignore[arg-type]


def test_clocks() -> None:
    """Clocks are apart beyond five minutes either way; one before the program was written was never set."""
    assert not apart(APART)
    assert not apart(-APART)
    assert apart(APART + 1)
    assert apart(-APART - 1)
    assert was_set(EARLIEST)
    assert not was_set(EARLIEST - 1)
    assert ahead(1.4) == ahead(-1.4) == "the same"
    assert ahead(600) == "600 s ahead of this machine's"
    assert ahead(-600) == "600 s behind this machine's"


def test_room_on_the_disk() -> None:
    """Below the reserve no work is taken; below what recordings leave alone it is getting close."""
    assert room(RESERVE - 1) == "error"
    assert room(RESERVE) == room(KEEPSAKES - 1) == "warning"
    assert room(KEEPSAKES) == "ok"


@pytest.mark.parametrize(
    ("there", "user", "wanted"),
    [
        (Folder("/s", 0o40700, 7, writable=True), 7, ""),
        (Folder("/s", 0o40755, 0, writable=True), 7, ""),
        (Folder("/s", 0o40700, 7, writable=True), 0, ""),
        (Folder("/", 0o40777, 9, writable=True), 7, ""),
        (Folder("/s", 0o100600, 7, writable=True), 7, "/s is no folder"),
        (Folder("/s", 0o40700, 9, writable=True), 7, "/s belongs to user 9, not to user 7"),
        (
            Folder("/s", 0o40770, 7, writable=True),
            7,
            "others can write to /s (mode 0770); run: chmod go-w /s",
        ),
        (Folder("/s", 0o40702, 7, writable=True), 0, "others can write to /s (mode 0702); run: chmod go-w /s"),
        (Folder("/", 0o40755, 0, writable=False), 7, "user 7 cannot write to /"),
    ],
)
def test_the_state_folder(there: Folder, user: int, wanted: str) -> None:
    """It is the relay's own or root's, nobody else may write to it, the relay may; root looks on behalf of anybody."""
    assert folder_trouble("/s", there, user) == wanted
