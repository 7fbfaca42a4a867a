"""Secrets are blanked in every form that text may carry them."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.redact import SHORTEST, Redactor
from relay.core.secret import Secret

CANARY = 'Zq8!ca"nary/p&ss wörd+<7>'
PEM = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
-----END PRIVATE KEY-----
"""


def knowing(*secrets: str, username: str | None = None) -> Redactor:
    """A redactor that knows these secrets."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(Secret(secret), username)
    return redactor


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        quote(CANARY, safe=""),
        quote(CANARY),
        quote_plus(CANARY),
        quote(CANARY, safe="").lower().replace("zq8", "Zq8"),
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        html.escape(CANARY),
        html.escape(CANARY, quote=False),
        repr(CANARY),
    ],
)
def test_written_forms_are_blanked(form: str) -> None:
    """Raw, URL-encoded, JSON-escaped, HTML-escaped and as Python writes it."""
    shown = knowing(CANARY).scrub(f"before {form} after")
    assert shown.replace('"', "").replace("'", "") == "before ******** after"


@pytest.mark.parametrize("offset", range(7))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_blanked_wherever_it_begins(offset: int, encode: object) -> None:
    """Base64 of anything that holds the secret shows at most the few bits that its neighbours share."""
    encoded = encode(b"x" * offset + CANARY.encode() + b"tail")  # type: ignore[operator]
    shown = knowing(CANARY).scrub(encoded.decode())
    assert "********" in shown
    left = shown.replace("********", "")
    assert len(left) <= len(encoded) - len(CANARY.encode()) * 8 // 6 + 2


def test_basic_pair_is_blanked_whole() -> None:
    """An HTTP Basic credential is blanked with its user name, also when the password alone is too short to be."""
    pair = base64.b64encode(b"svc.relay:pw").decode()
    assert knowing("pw", username="svc.relay").scrub(f"Basic {pair}") in {"Basic ********", "Basic ********="}
    assert knowing("pw", username="svc.relay").scrub("pw is short") == "pw is short"


def test_empty_and_short_secrets_blank_nothing() -> None:
    """What is shorter than eight characters is in ordinary text, and blanking it would tell it."""
    redactor = knowing("", "a", "x" * (SHORTEST - 1))
    redactor.add(Secret(""), "user")
    assert redactor.scrub("a text with " + "x" * 20) == "a text with " + "x" * 20


def test_each_line_of_a_key_counts() -> None:
    """A message that quotes one line of a private key shows nothing of it."""
    shown = knowing(PEM).scrub(f"cannot parse: {PEM.splitlines()[1]}")
    assert shown == "cannot parse: ********"
    assert knowing(PEM).scrub("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_longest_form_wins() -> None:
    """Of two secrets of which one begins like the other, the longer is blanked whole."""
    assert knowing("password", "password-long").scrub("password-long") == "********"


def test_cut_never_leaves_the_beginning_of_a_secret() -> None:
    """A text cut inside of a secret shows nothing of it."""
    redactor = knowing("0123456789abcdef")
    text = "x" * 10 + "0123456789abcdef" + "y" * 10
    for limit in range(len(text) + 3):
        shown = redactor.scrub(text, limit)
        assert "01" not in shown
        assert shown.startswith(text[: min(limit, 10)])


def test_knowing_a_secret_twice_changes_nothing() -> None:
    """Reading a secret again, as after each rotation check, does not make the pattern anew."""
    redactor = knowing(CANARY)
    before = redactor._pattern
    redactor.add(Secret(CANARY))
    assert redactor._pattern is before


def test_without_secrets_text_is_only_cut() -> None:
    """A redactor that knows nothing leaves text alone."""
    assert Redactor().scrub("abcdefghij") == "abcdefghij"
    assert Redactor().scrub("abcdefghij", 3) == "abc"


@given(st.text(min_size=SHORTEST), st.text(), st.text(), st.integers(0, 100) | st.none())
def test_no_secret_survives(secret: str, before: str, after: str, limit: int | None) -> None:
    """Whatever the secret and its surroundings: it is not in what is shown, unless the mask itself spells it."""
    redactor = knowing(secret)
    for text in (secret, json.dumps(secret), quote_plus(secret, errors="replace")):
        shown = redactor.scrub(before + text + after, limit)
        assert all(secret not in part for part in shown.split(Secret.MASK)) or secret in Secret.MASK * 9
