"""A document of the appliance that is not well-formed, made so where that loses nothing.

A session's report quotes what was typed and what windows were called: control characters among it, and now and then an
ampersand that nobody escaped. Characters that XML forbids are left out, raw or as references; what is not UTF-8 becomes
U+FFFD; an ampersand that begins no reference stands for itself.

Why not a recovering parser: it leaves out elements without a word, and a report that lost events would count as whole.
"""

from __future__ import annotations

import codecs
import re
import sys
from typing import BinaryIO, Final

CHUNK: Final = 64 * 1024
LONGEST_REFERENCE: Final = 12
"""Characters of `&#x10FFFF;` and of every name that XML knows, and some more."""
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WRONG: Final = re.compile(
    r"&(?:(?:amp|lt|gt|quot|apos);|#(?P<dec>[0-9]{1,8});|#x(?P<hex>[0-9a-fA-F]{1,7});)?|" + _FORBIDDEN.pattern
)


class Repaired:
    """Reads like the file that it is given, repaired; any size in constant memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._held = ""

    def read(self, _size: int = -1) -> bytes:
        """The next piece in UTF-8, of a size of its own choosing; empty at the end."""
        while True:
            raw = self._file.read(CHUNK)
            text, self._held = self._held + self._decoder.decode(raw, final=not raw), ""
            cut = text.rfind("&", max(0, len(text) - LONGEST_REFERENCE)) if raw else -1
            if cut >= 0 and ";" not in text[cut:]:
                text, self._held = text[:cut], text[cut:]
            if (piece := _WRONG.sub(_right, text).encode()) or not raw:
                return piece


def _right(match: re.Match[str]) -> str:
    found = match[0]
    if found == "&":
        return "&amp;"
    if not found.startswith("&"):
        return ""
    if not (digits := match["dec"] or match["hex"]):
        return found
    number = int(digits, 10 if match["dec"] else 16)
    return "" if number > sys.maxunicode or _FORBIDDEN.match(chr(number)) else found
