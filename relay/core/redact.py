"""Blank secrets out of text by their exact values, in every form that text may carry them.

This is the second belt: a secret is first of all a `Secret`, which never shows itself. What is left are libraries'
messages and the other side's words, which may quote a secret.

Why exact values and no patterns: a pattern misses what it does not know and blanks what is no secret.
Why eight characters: a shorter value would blank ordinary text, and the log would tell the secret by its gaps.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from relay.core.secret import Secret

SHORTEST: Final = 8


class Redactor:
    """Knows the secrets of the process and blanks them.

    `add` may be called while another thread scrubs: the pattern is replaced as a whole.
    """

    __slots__ = ("_longest", "_needles", "_pattern")

    def __init__(self) -> None:
        self._needles: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0

    def add(self, secret: Secret, username: str | None = None) -> None:
        """Blank this secret from now on; with a username also the pair of the two as HTTP Basic sends it."""
        text = secret.reveal()
        found = set(forms(text))
        if username is not None:
            found.update(pair_forms(username, text))
        if found <= self._needles:
            return
        self._needles |= found
        # Longest first: of two needles that begin alike, `re` takes the one that stands first.
        ordered = sorted(self._needles, key=lambda needle: (-len(needle), needle))
        self._longest = len(ordered[0])
        self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def scrub(self, text: str, limit: int | None = None) -> str:
        """The text with secrets blanked, no longer than `limit` characters of the original.

        A secret that begins before the limit is blanked whole: the cut never leaves its beginning behind.
        """
        end = len(text) if limit is None else min(limit, len(text))
        if self._pattern is None or len(text) < SHORTEST:
            return text[:end]
        kept: list[str] = []
        position = 0
        for match in self._pattern.finditer(text, 0, end + self._longest):
            if match.start() >= end:
                break
            kept += (text[position : match.start()], Secret.MASK)
            position = match.end()
        if not kept:
            return text[:end]
        kept.append(text[position:end])
        return "".join(kept)


def forms(text: str) -> Iterator[str]:
    """Every form of a secret that is long enough to be told from ordinary text.

    Of a secret of several lines (a private key) each line counts by itself, since messages quote lines.
    """
    lines = [line.strip() for line in text.splitlines() if not line.startswith("-----")] if "\n" in text else []
    for value in (text, *lines):
        if len(value) >= SHORTEST:
            yield from _spellings(value)


def pair_forms(username: str, password: str) -> Iterator[str]:
    """The pair as HTTP Basic sends it.

    Why beside the password's own forms: base64 of a pair does not contain base64 of its half.
    """
    pair = f"{username}:{password}"
    if password and len(pair) >= SHORTEST:
        for encoding in ("utf-8", "latin-1"):
            raw = pair.encode(encoding, "replace")
            for encoded in (b64encode(raw), urlsafe_b64encode(raw)):
                yield encoded.decode().rstrip("=")


def _spellings(value: str) -> Iterator[str]:
    yield value
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value), quote_plus(value, safe="/")):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield repr(value)[1:-1]
    yield from _base64(value.encode("utf-8", "replace"))


def _base64(raw: bytes) -> Iterator[str]:
    """The characters that depend on nothing but `raw`, for each place in a group of three bytes to begin at."""
    for offset in range(3):
        first = -(-offset * 8 // 6)
        last = (offset + len(raw)) * 8 // 6
        padded = bytes(offset) + raw
        for encoded in (b64encode(padded), urlsafe_b64encode(padded)):
            yield encoded.decode()[first:last]
