"""Whether an error of the Reporting API means that there is nothing, which is none, or nothing any more.

The appliance answers a question that nothing fits with status 200 and an `<error>` in its own language. The texts of
English and French were seen on real appliances; the others are how those languages put it, and whoever asks may name
further texts, which a question that surely has no answer (sessions that end in the future) teaches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

_NOTHING: Final = (
    r"matching your chosen criteria",  # en
    r"no archives? found for the given search criteria",  # en, archives of Remote Support
    r"correspondant a vos criteres",  # fr
    r"\bihren? (?:ausgewahlten )?kriterien\b",  # de
    r"\b(?:sus|los) criterios\b",  # es
    r"\bai (?:tuoi |suoi )?criteri\b",  # it
    r"\b(?:seus|aos) criterios\b",  # pt
    r"\b(?:uw|je) (?:gekozen )?criteria\b",  # nl
)
_PATTERN: Final = re.compile("|".join(_NOTHING))
_EXPIRED: Final = re.compile(
    r"\brecording has expired\b"  # en
    r"|\benregistrement a expire\b"  # fr
    r"|\baufzeichnung ist abgelaufen\b"  # de
    r"|\bgrabacion ha (?:caducado|expirado)\b"  # es
    r"|\bregistrazione e scaduta\b"  # it
    r"|\bgravacao expirou\b"  # pt
    r"|\bopname is verlopen\b"  # nl
)


def says_nothing_found(text: str, also: Collection[str] = ()) -> bool:
    """Whether an `<error>` of this text means "nothing found".

    `also` are texts that mean it on this appliance; case, accents and spaces do not matter in them. One without a text
    does not: it may be any fault.
    """
    plain = _plain(text)
    return bool(plain) and (_PATTERN.search(plain) is not None or any(plain == _plain(one) for one in also))


def says_expired(text: str) -> bool:
    """Whether an `<error>` of this text means that a recording is no longer kept.

    English was seen on real appliances; the others are how those languages put it. Nothing else that expires is meant:
    a recording that is no longer kept is not asked for again.
    """
    return _EXPIRED.search(_plain(text)) is not None


def _plain(text: str) -> str:
    """In one case, without accents, with single spaces."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(one for one in apart if not unicodedata.combining(one)).split())
