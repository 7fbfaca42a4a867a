from __future__ import annotations

from pathlib import Path

import pytest
from support.store import StillClock

from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.host.secrets import SecretReader
from relay.host.signing_keys import LIFE, ConfiguredKeys

KEY = "Zk3o4Jq0pB1mW8uYx2c7nR5tV9aL6sDhEfGiKjMlNoQ="


def keep(path: Path, text: str) -> SecretRef:
    """A secret's file."""
    path.write_text(text)
    path.chmod(0o600)
    return SecretRef("file", str(path))


def test_a_key_is_its_text(tmp_path: Path) -> None:
    """The bytes of the text are the key, without the line break at its end; an id without key has none."""
    places = {"a": keep(tmp_path / "a", f"{KEY}\n"), "b": keep(tmp_path / "b", "\u00f6" * 16)}
    keys = ConfiguredKeys(places, SecretReader({}), StillClock())
    assert keys.of("a") == KEY.encode()
    assert keys.of("b") == b"\xc3\xb6" * 16
    assert keys.of("c") is None
    keys.check()


def test_a_changed_key_counts_at_once(tmp_path: Path) -> None:
    """After a second a replaced key is the new one, and one that was taken away, or opened to others, is none."""
    clock, path = StillClock(), tmp_path / "a"
    keys = ConfiguredKeys({"a": keep(path, KEY)}, SecretReader({}), clock)
    assert keys.of("a") == KEY.encode()
    keep(path, KEY[::-1])
    clock.at += LIFE
    assert keys.of("a") == KEY[::-1].encode()
    path.chmod(0o644)
    clock.at += LIFE
    for number in (1010, 1009):
        for _ in range(2):
            with pytest.raises(ConfigError) as error:
                keys.of("a")
            assert error.value.number == number
        path.unlink(missing_ok=True)
    keep(path, KEY)
    assert keys.of("a") == KEY.encode()


def test_a_burst_reads_a_key_once(tmp_path: Path) -> None:
    """Within a second the file is not read again."""
    clock, path = StillClock(), tmp_path / "a"
    keys = ConfiguredKeys({"a": keep(path, KEY)}, SecretReader({}), clock)
    assert keys.of("a") == KEY.encode()
    path.unlink()
    clock.at += LIFE / 2
    assert keys.of("a") == KEY.encode()


@pytest.mark.parametrize("text", ["x" * 31, "\u00f6" * 15])
def test_a_short_key_is_refused(tmp_path: Path, text: str) -> None:
    """A key of fewer than 32 bytes is BSR-1028, whenever it is read, and the message does not show it."""
    keys = ConfiguredKeys({"a": keep(tmp_path / "a", text)}, SecretReader({}), StillClock())
    for ask in (keys.check, lambda: keys.of("a"), lambda: keys.of("a")):
        with pytest.raises(ConfigError) as error:
            ask()
        assert error.value.number == 1028
        assert text not in error.value.text


def test_two_ids_have_two_keys(tmp_path: Path) -> None:
    """One text under two ids is BSR-1028: the log would name either."""
    places = {"a": keep(tmp_path / "a", KEY), "b": keep(tmp_path / "b", f"{KEY}\n")}
    with pytest.raises(ConfigError, match="'a' and 'b' are the same") as error:
        ConfiguredKeys(places, SecretReader({}), StillClock()).check()
    assert error.value.number == 1028
