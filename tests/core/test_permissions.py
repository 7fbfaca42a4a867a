"""Which permissions an appliance's account needs."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.arguments import Argument
from relay.core.catalog import CATALOG
from relay.core.operations import Operation
from relay.core.permissions import lacking, needs, read_permissions

BY_NAME = {operation.name: operation for operation in CATALOG}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("health", {"perm_command"}),
        ("terminate", {"perm_command=full_access"}),
        ("session-key", {"perm_command=full_access"}),
        ("report-access-session", {"perm_reporting_support"}),
        ("report-vault-account-activity", {"perm_reporting_vault"}),
        ("report-jump-item", {"perm_reporting_jump_item"}),
        ("report-license-usage", {"perm_reporting_license"}),
        ("jump-client-list", {"perm_configuration"}),
        ("liveness", set()),
        ("approval-response", set()),
    ],
)
def test_what_built_in_operations_need(name: str, wanted: set[str]) -> None:
    """An operation needs the permission of its API, and full access where it changes something."""
    assert needs(BY_NAME[name]) == wanted


def test_what_a_sites_own_operation_needs() -> None:
    """A report's kind may be an argument; of one that takes any nothing is known, and of a path of its own neither."""
    kinds = Argument("generate_report", type="enum", values=("VaultAccountActivity", "AccessSession"))
    one = Operation("own", "", ("GET",), "/api/reporting", arguments=(kinds,))
    assert needs(one) == {"perm_reporting_vault", "perm_reporting_support"}
    assert needs(Operation("own", "", ("GET",), "/api/reporting")) == frozenset()
    assert needs(Operation("own", "", ("GET",), "/api/backup")) == frozenset()
    assert needs(Operation("own", "", ("POST",), "/api/command", safe=True)) == {"perm_command=full_access"}


def test_what_is_lacking() -> None:
    """What an account is told not to have is lacking, with all that needs it; what it is not told of is not known."""
    wanted = {
        "look": {"perm_command"},
        "end": {"perm_command=full_access"},
        "report": {"perm_reporting_support"},
        "sessions": {"perm_reporting_support"},
        "vault": {"perm_reporting_vault"},
    }
    held = {"perm_command": "read_only", "perm_reporting_support": "0"}
    assert lacking(wanted, held) == {
        "perm_command=full_access": ("end",),
        "perm_reporting_support": ("report", "sessions"),
    }
    assert lacking(wanted, {"perm_command": "deny"}) == {
        "perm_command": ("look",),
        "perm_command=full_access": ("end",),
    }
    assert lacking(wanted, {"perm_command": "full_access", "perm_reporting_support": "1"}) == {}
    assert lacking(wanted, {"perm_command": "1"}) == {}


@pytest.mark.parametrize(
    "value",
    [
        {"permission": [{"@name": "perm_command", "#text": "Read_Only"}, {"@name": "perm_scim", "#text": "0"}]},
        {"permission": {"@name": "perm_command", "@value": "read_only"}, "more": {"perm_scim": {"#text": "0"}}},
        {"permission": ["perm_command=read_only", "perm_scim=0", 7, "other"]},
        {"perm_command": "read_only", "perm_scim": "0"},
    ],
)
def test_every_likely_shape_is_read(value: Any) -> None:
    """However the appliance writes its permissions, they are understood."""
    assert read_permissions(value) == {"perm_command": "read_only", "perm_scim": "0"}


def test_what_is_only_named_is_held() -> None:
    """A permission without a value is one that the account has; a document without any gives none."""
    assert read_permissions({"permission": ["perm_command", {"@id": "perm_scim"}]}) == {
        "perm_command": "1",
        "perm_scim": "1",
    }
    assert read_permissions(None) == {}
