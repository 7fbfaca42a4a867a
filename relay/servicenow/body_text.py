"""Whether an HTTP body is text, and which.

Why the content type decides before the bytes do: a caller must not get base64 for one file and text for the next of
the same type. Where the bytes contradict a type that says text, they are not text.
"""

from __future__ import annotations

import codecs
import re
from email.message import Message
from functools import lru_cache
from typing import Final

_TEXT_TYPES: Final = re.compile(
    r"text/|application/(json|xml|javascript|ecmascript|x-www-form-urlencoded|xhtml\+xml|soap\+xml|problem\+json"
    r"|x-ndjson|jwt)\Z|[^/]+/[^/]+\+(json|xml)\Z"
)
_BINARY_TYPES: Final = re.compile(r"(image|audio|video|font)/|application/")
_DECLARED: Final = re.compile(rb"""\A\s*<\?xml[^>]{0,100}\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")

LONGEST: Final = 200
"""Characters of a Content-Type that are read: the library takes time in their number squared."""

# Python knows further "encodings" that are transformations of their own (unicode_escape, idna, utf-7): never wanted.
_CHARSETS: Final = re.compile(
    r"ascii|utf-8|utf-(16|32)(-le|-be)?|iso8859-\d{1,2}|cp125\d|koi8-[ru]|mac-roman|cp850"
    r"|shift_jis|cp932|euc_jp|iso2022_jp|gb2312|gbk|gb18030|big5|euc_kr|cp949"
)


def decode(body: bytes, content_type: str) -> str | None:
    """The body as text, None when it is not text.

    Args:
        body: the bytes after any content encoding was undone.
        content_type: the header's value, "" when there is none: then UTF-8 text is text.

    """
    kind, charset = _parse(content_type[:LONGEST])
    if not _TEXT_TYPES.match(kind) and _BINARY_TYPES.match(kind) and not charset:
        return None
    if not charset and (found := _DECLARED.match(body)):
        charset = found[1].decode()
    try:
        name = codecs.lookup(charset or "utf-8").name
        if not _CHARSETS.fullmatch(name):
            return None
        return body.decode("utf-8-sig" if name == "utf-8" else name)
    except (LookupError, ValueError):  # ValueError: bytes that are not of this charset, or a name that holds a NUL
        return None


@lru_cache(maxsize=64)
def _parse(content_type: str) -> tuple[str, str]:
    """Type and charset of a header's value, both in lower case, "" where there is none."""
    message = Message()
    # A header is ASCII; the library fails on some of what is not.
    message["content-type"] = re.sub(r"[^ -~]", " ", content_type)
    return message.get_content_type() if "/" in content_type else "", (message.get_content_charset() or "")
