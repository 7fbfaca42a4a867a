"""Secrets."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.secret import Secret


@given(st.text(min_size=9))
def test_no_way_of_showing_a_secret_shows_it(text: str) -> None:
    """Neither repr nor str nor any format gives more than the mask."""
    secret = Secret(text)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>12}", f"{[secret]}", f"{secret!r}"):
        assert text not in shown
        assert "********" in shown
    assert secret.reveal() == text


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    """Pickle refuses a secret, and so does copy, which works the same way."""
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            way(Secret("a secret text"))


def test_secrets_compare_by_their_text() -> None:
    """Equal texts make equal secrets, and a secret equals no plain text."""
    assert Secret("one") == Secret("one")
    assert hash(Secret("one")) == hash(Secret("one"))
    assert Secret("one") != Secret("two")
    assert Secret("one") != "one"


def test_a_secret_takes_no_further_attribute() -> None:
    """Nothing can be hung on a secret."""
    with pytest.raises(AttributeError):
        Secret("one").text = "x"  # type: ignore[attr-defined]
