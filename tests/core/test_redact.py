"""Secrets are blanked in every form that text may carry them."""

from __future__ import annotations

import base64
import html
import json
import threading
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.redact import LEARNED, LEARNED_TEXT, SHORTEST, Redactor
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
        repr(CANARY.encode())[1:],
    ],
)
def test_written_forms_are_blanked(form: str) -> None:
    """Raw, URL-encoded, JSON-escaped, HTML-escaped and as Python writes it."""
    shown = knowing(CANARY).scrub(f"before {form} after")
    assert shown.replace('"', "").replace("'", "") == "before ******** after"


@pytest.mark.parametrize("offset", range(7))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_base64_is_blanked_wherever_it_begins(offset: int, encode: object, encoding: str) -> None:
    """Base64 of anything that holds the secret shows at most the few bits that its neighbours share."""
    raw = CANARY.encode(encoding)
    encoded = encode(b"x" * offset + raw + b"tail")  # type: ignore[operator]
    shown = knowing(CANARY).scrub(encoded.decode())
    assert "********" in shown
    left = shown.replace("********", "")
    assert len(left) <= len(encoded) - len(raw) * 8 // 6 + 2


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


def test_of_secrets_that_overlap_nothing_is_left() -> None:
    """Where the end of one secret is the beginning of another, both are blanked to their ends."""
    assert knowing("password1", "word12345", "12345678").scrub("a password12345678 b") == "a ******** b"


def test_a_rotated_secret_is_blanked_beside_the_former() -> None:
    """After a rotation lines that quote the old value are blanked as well."""
    redactor = knowing("the-first-one")
    redactor.add(Secret("the-second-one"))
    assert redactor.scrub("the-first-one the-second-one") == "******** ********"


def test_what_came_up_at_work_is_blanked_and_forgotten_in_time() -> None:
    """The newest tokens and cookies are blanked, old ones go, one in use and those of the configuration stay."""
    redactor = knowing("of-the-configuration")
    for number in range(LEARNED * 3):
        redactor.learn(Secret("the-one-in-use-now"))
        redactor.learn(Secret(f"cookie-of-a-session-{number:06d}"))
    text = f"of-the-configuration the-one-in-use-now cookie-of-a-session-{LEARNED * 3 - 1:06d}"
    assert redactor.scrub(text) == "******** ******** ********"
    assert redactor.scrub("cookie-of-a-session-000001") == "cookie-of-a-session-000001"
    assert len(redactor._index) < LEARNED * 2 * 12


def test_long_secrets_of_the_other_side_cost_bounded_memory() -> None:
    """The longer the cookies and tokens are, the fewer are kept in mind; the newest one always is."""
    redactor = knowing("of-the-configuration")
    newest = ""
    for number in range(40):
        newest = f"{number:06d}" + '"%<&' * 2_000
        redactor.learn(Secret(newest))
    kept = [needle for needles in redactor._index.values() for needle in needles]
    assert sum(map(len, kept)) < 3 * LEARNED_TEXT
    assert redactor.scrub(f"of-the-configuration {newest}") == "******** ********"


def test_text_is_scrubbed_while_secrets_arrive() -> None:
    """Threads that log while tokens come and go see every secret blanked that was known before they began."""
    redactor = knowing("of-the-configuration")
    done = threading.Event()

    def arrive() -> None:
        for number in range(LEARNED * 5):
            redactor.learn(Secret(f"token-{number:09d}"))
        done.set()

    thread = threading.Thread(target=arrive)
    thread.start()
    shown = set()
    while not done.is_set():
        shown.add(redactor.scrub("x of-the-configuration"))
    thread.join()
    assert shown <= {"x ********"}


def test_without_secrets_text_is_only_cut() -> None:
    """A redactor that knows nothing leaves text alone."""
    assert Redactor().scrub("abcdefghij") == "abcdefghij"
    assert Redactor().scrub("abcdefghij", 3) == "abc"


@given(st.text(min_size=SHORTEST) | st.text("\ud800ab", min_size=SHORTEST))
def test_every_text_can_be_a_secret(secret: str) -> None:
    """Also one that no encoding takes, as JSON can hold it."""
    redactor = Redactor()
    redactor.add(Secret(secret))
    assert redactor.scrub(secret) == Secret.MASK


def test_the_other_side_cannot_have_words_blanked() -> None:
    """What came up at work is blanked from sixteen characters on: no cookie hides `servicenow` from the log."""
    redactor = knowing()
    redactor.learn(Secret("servicenow"))
    redactor.learn(Secret("0123456789abcdef"))
    assert redactor.scrub("servicenow 0123456789abcdef") == "servicenow ********"


@given(st.text(min_size=SHORTEST), st.text(), st.text(), st.integers(0, 100) | st.none())
def test_no_secret_survives(secret: str, before: str, after: str, limit: int | None) -> None:
    """Whatever the secret and its surroundings: it is not in what is shown, unless the mask itself spells it."""
    redactor = knowing(secret)
    for text in (secret, json.dumps(secret), quote_plus(secret, errors="replace")):
        shown = redactor.scrub(before + text + after, limit)
        assert all(secret not in part for part in shown.split(Secret.MASK)) or secret in Secret.MASK * 9
