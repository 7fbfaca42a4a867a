"""The search of the canary tests finds what it is there to find."""

from __future__ import annotations

import base64
import gzip
import html
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from support.canary import Marks, files

FORMS = {
    "raw": lambda text: f"before {text} after",
    "cut": lambda text: text[:20],
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "json": lambda text: json.dumps({"a": text}),
    "html": html.escape,
    "python": lambda text: repr([text.encode()]),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "basic": lambda text: base64.b64encode(f"svc.relay:{text}".encode()).decode(),
    "basic, other alignment": lambda text: base64.b64encode(f"svc.relay2:{text}".encode()).decode(),
    "basic, third alignment": lambda text: base64.urlsafe_b64encode(f"svc.relay22:{text}".encode()).decode(),
    "json within json": lambda text: json.dumps(json.dumps(text)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_mark_is_found(form: str, tmp_path: Path) -> None:
    """A secret in any spelling, in a file or a compressed one, is found and named."""
    marks = Marks()
    text = marks.make("password")
    marks.make("other")
    (tmp_path / "log").write_text(FORMS[form](text))
    (tmp_path / "log.gz").write_bytes(gzip.compress(FORMS[form](text).encode()))
    leaks = marks.search(files([tmp_path]))
    assert {Path(name).name for name in leaks} == {"log", "log.gz"}
    assert all(found.startswith("password") for each in leaks.values() for found in each)


def test_lines_of_a_key_are_found() -> None:
    """One line of a private key is enough."""
    marks = Marks()
    marks.add("key", "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nAbCdEfGhIjKlMnOpQrSt\n-----END KEY-----")
    assert marks.found(b"x AbCdEfGhIjKlMnOpQrSt")
    assert not marks.found(b"-----BEGIN KEY-----")


def test_what_is_left_out_and_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    """Other text is no leak, and files that may hold secrets are left out by name or folder."""
    marks = Marks()
    text = marks.make("password")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "a").write_text(text)
    (tmp_path / "b").write_text("nothing")
    assert marks.search(files([tmp_path], leave_out=[tmp_path / "credentials"])) == {}
    assert len(marks.search(files([tmp_path]))) == 1
