"""The keys of signed work in the configuration, and what demands them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, loaded

from relay.config.values import SecretRef

AUTH = "  auth:"


def with_keys(keys: str, more: str = "") -> str:
    """The smallest configuration with keys and more of the section `servicenow`."""
    return SMALLEST.replace(AUTH, f"  signature_keys: {keys}\n{more}{AUTH}", 1)


def test_keys_are_places_of_secrets_by_their_ids(tmp_path: Path) -> None:
    """One or two keys, each a credential or a file; without them the map is empty."""
    settings = loaded(tmp_path, with_keys("{2026-11: {credential: signature_key}, old_1: {file: /etc/key}}")).settings
    assert settings.servicenow.signature_keys == {
        "2026-11": SecretRef("credential", "signature_key"),
        "old_1": SecretRef("file", "/etc/key"),
    }
    assert loaded(tmp_path, SMALLEST).settings.servicenow.signature_keys == {}


def test_a_drop_in_adds_a_key_or_replaces_one(tmp_path: Path) -> None:
    """Keys of two files are both live, so that a rotation is a drop-in; the same id is replaced as a whole."""
    drop_in = "servicenow: {signature_keys: {b: {file: /b}, a: {file: /new}}}\n"
    settings = loaded(tmp_path, with_keys("{a: {credential: old}}"), rotation=drop_in).settings
    assert settings.servicenow.signature_keys == {"a": SecretRef("file", "/new"), "b": SecretRef("file", "/b")}


@pytest.mark.parametrize(
    ("keys", "headline"),
    [
        (
            "{a: {credential: a}, b: {credential: b}, c: {credential: c}}",
            "4:3: error[BSR-1006]: servicenow.signature_keys: these are too",
        ),
        ("{a.b: {credential: a}}", "4:20: error[BSR-1006]: servicenow.signature_keys.a.b: write a key's id"),
        ('{"": {credential: a}}', "4:20: error[BSR-1006]: servicenow.signature_keys"),
        (f"{{{'k' * 33}: {{credential: a}}}}", "4:20: error[BSR-1006]: servicenow.signature_keys"),
        ("{a: 0123456789abcdef0123456789abcdef}", "4:23: error[BSR-1008]: servicenow.signature_keys.a: a secret is"),
        ("[a]", "4:19: error[BSR-1006]: servicenow.signature_keys"),
    ],
)
def test_what_is_no_key_is_refused_at_its_place(tmp_path: Path, keys: str, headline: str) -> None:
    """A third key, an id that no signature could name, a literal, a list: each is one problem with its place."""
    found = headlines(tmp_path, with_keys(keys))
    assert len(found) == 1
    assert found[0].startswith(f"relay.yaml:{headline}"), found


@pytest.mark.parametrize("required", ["true", "unsafe"])
def test_who_demands_signatures_needs_a_key(tmp_path: Path, required: str) -> None:
    """`require_signature` without keys is an error at its line; with a key, or with `false`, it is none."""
    demand = f"  require_signature: {required}\n"
    assert headlines(tmp_path, SMALLEST.replace(AUTH, f"{demand}{AUTH}", 1)) == [
        (
            "relay.yaml:4:3: error[BSR-1016]: servicenow.require_signature: no signature can be judged without "
            "servicenow.signature_keys"
        )
    ]
    assert headlines(tmp_path, with_keys("{a: {credential: a}}", demand)) == []
    assert headlines(tmp_path, SMALLEST.replace(AUTH, f"  require_signature: false\n{AUTH}", 1)) == []


def test_an_operation_that_demands_signatures_needs_a_key(tmp_path: Path) -> None:
    """An operation's own `require_signature: true` without keys is an error at its line; `false` is none."""
    policy = "policy: {operations: {health: {require_signature: true}, report: {require_signature: false}}}\n"
    found = [line for line in headlines(tmp_path, SMALLEST + policy) if "signature" in line]
    assert found == [
        (
            "relay.yaml:10:32: error[BSR-1016]: policy.operations.health.require_signature: no signature can be judged "
            "without servicenow.signature_keys"
        )
    ]
    found = [line for line in headlines(tmp_path, with_keys("{a: {credential: a}}") + policy) if "signature" in line]
    assert found == []


def test_a_key_may_stand_in_another_file(tmp_path: Path) -> None:
    """The demand in the main file and the key in a drop-in belong together."""
    main = SMALLEST.replace(AUTH, f"  require_signature: true\n{AUTH}", 1)
    assert headlines(tmp_path, main, keys="servicenow: {signature_keys: {a: {credential: a}}}\n") == []


def test_a_wrong_key_hides_nothing_and_adds_nothing(tmp_path: Path) -> None:
    """Where a key is written wrong, that is told, and not that there is none."""
    found = headlines(tmp_path, with_keys("{a: literal}", "  require_signature: true\n"))
    assert [line.split(": ")[1] for line in found] == ["error[BSR-1008]"]
