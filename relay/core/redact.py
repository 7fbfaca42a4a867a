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
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from relay.core.secret import Secret

SHORTEST: Final = 8
SHORTEST_LEARNED: Final = 16
LEARNED: Final = 256
"""Secrets of the running work that are kept in mind, and as many again from before: each request may bring a cookie."""
LEARNED_TEXT: Final = 2_000_000
"""Characters that their forms may have together, likewise: a secret has some thirty forms, and the other side decides
how long it is."""


class Redactor:
    """Knows the secrets of the process and blanks them.

    Both kinds may be made known while another thread scrubs: the index is only ever added to, or replaced as a whole.

    Why an index by the first eight characters and no pattern of all secrets: one private key has hundreds of forms,
    and a pattern compares each of them at every place of every text.
    """

    __slots__ = ("_fixed", "_index", "_old", "_room", "_young")

    def __init__(self) -> None:
        self._index: dict[str, tuple[str, ...]] = {}
        self._fixed: set[str] = set()
        self._young: dict[Secret, frozenset[str]] = {}
        self._old: dict[Secret, frozenset[str]] = {}
        self._room = LEARNED_TEXT

    def add(self, secret: Secret, username: str | None = None) -> None:
        """Blank a secret of the configuration, for ever; with a username also the pair as HTTP Basic sends it."""
        text = secret.reveal()
        found = set(forms(text))
        if username is not None:
            found.update(pair_forms(username, text))
        new = found - self._fixed
        self._fixed |= new
        _enter(self._index, new)

    def learn(self, secret: Secret) -> None:
        """Blank a secret that came up at work, such as a token or a cookie, until hundreds of others came after it.

        Why not a short one: the other side makes it, and could have ordinary words blanked.
        """
        if secret in self._young or len(secret.reveal()) < SHORTEST_LEARNED:
            return
        if len(self._young) >= LEARNED or self._room <= 0:
            self._old, self._young, self._room = self._young, {}, LEARNED_TEXT
            index: dict[str, tuple[str, ...]] = {}
            _enter(index, self._fixed.union(*self._old.values()))
            self._index = index
        found = self._old.get(secret)
        if found is None:
            found = frozenset(forms(secret.reveal()))
            _enter(self._index, found)
        self._young[secret] = found
        self._room -= sum(map(len, found))

    def scrub(self, text: str, limit: int | None = None) -> str:
        """The text with secrets blanked, no longer than `limit` characters of the original.

        A secret that begins before the limit is blanked whole: the cut never leaves its beginning behind.
        """
        end = len(text) if limit is None else min(limit, len(text))
        index = self._index
        begins = [at for at in range(min(end, len(text) - SHORTEST + 1)) if text[at : at + SHORTEST] in index]
        kept: list[str] = []
        position = 0
        for at in begins:
            found = next((needle for needle in index[text[at : at + SHORTEST]] if text.startswith(needle, at)), None)
            if found is not None and at + len(found) > position:
                if at >= position:
                    kept += (text[position:at], Secret.MASK)
                position = at + len(found)  # of two that overlap, both go
        if not kept:
            return text[:end]
        kept.append(text[position:end])
        return "".join(kept)


def _enter(index: dict[str, tuple[str, ...]], needles: Iterable[str]) -> None:
    """Longest first: of two needles that begin alike, the first that fits is blanked."""
    for needle in needles:
        known = index.get(needle[:SHORTEST], ())
        if needle not in known:
            index[needle[:SHORTEST]] = tuple(sorted((*known, needle), key=len, reverse=True))


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
    for encode in (quote, quote_plus):
        for safe in ("", "/"):
            encoded = encode(value, safe=safe, errors="replace")
            yield encoded
            yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield repr(value)[1:-1]
    raw = value.encode("utf-8", "replace")
    yield repr(raw)[2:-1]
    for one in {raw, value.encode("latin-1", "replace")}:
        yield from _base64(one)


def _base64(raw: bytes) -> Iterator[str]:
    """The characters that depend on nothing but `raw`, for each place in a group of three bytes to begin at."""
    for offset in range(3):
        first = -(-offset * 8 // 6)
        last = (offset + len(raw)) * 8 // 6
        padded = bytes(offset) + raw
        for encoded in (b64encode(padded), urlsafe_b64encode(padded)):
            yield encoded.decode()[first:last]
