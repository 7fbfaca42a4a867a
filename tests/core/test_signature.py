from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import WorkError
from relay.core.jobs import Nonce
from relay.core.signature import SKEW, Signature, Signed, Verified, check, forgettable, needed, parse, sign, text_of

KEY = b"0123456789abcdef0123456789abcdef"
NOW = 1_795_330_000
NONCE = "5f08b46b6cea4fbe8b1d53713123e29e"
WORK = Signed(
    agent="mid.server.relay01",
    appliance="default",
    operation="session-attributes-set",
    arguments={"lsid": "e9e99aeb9ad54fb381634498502c5a1b", "session.custom.external_key": "J\u00f6rg"},
    correlator="",
    by="admin",
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
WORKS = st.builds(Signed, TEXT, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=4), TEXT, TEXT)
NONCES = st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True)
KEY_IDS = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
TIMES = st.integers(0, 10**12 - 1)


def other_sign(key_id: str, key: bytes, work: Signed, time: int, nonce: str) -> str:
    """The signature once more, for texts without characters beyond the basic plane in their names."""
    members = {
        "agent": work.agent,
        "appliance": work.appliance,
        "arguments": work.arguments,
        "by": work.by,
        "correlator": work.correlator,
        "nonce": nonce,
        "operation": work.operation,
        "time": time,
    }
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    mac = hmac.new(key, text, hashlib.sha256).digest()
    return f"v1.{key_id}.{time}.{nonce}." + base64.b64encode(mac).decode().translate(str.maketrans("+/", "-_", "="))


def read(text: str) -> Signature | int:
    """What a text is read as; the code when it is refused."""
    try:
        return parse(text)
    except WorkError as error:
        return error.number


def refused(text: str, *, key: bytes | None = KEY, work: Signed = WORK, now: float = NOW, oldest: float = 120.0) -> int:
    """The code of the refusal; 0 when it passes."""
    try:
        check(parse(text), key, work, now=now, oldest=oldest)
    except WorkError as error:
        return error.number
    return 0


SIGNED = sign("k1", KEY, WORK, NOW, NONCE)


def test_the_example_of_the_documentation() -> None:
    """One signature, worked out by other programs, is what is made and is accepted."""
    assert text_of(WORK, NOW, NONCE).decode() == (
        '{"agent":"mid.server.relay01","appliance":"default","arguments":{"lsid":"e9e99aeb9ad54fb381634498502c5a1b",'
        '"session.custom.external_key":"J\u00f6rg"},"by":"admin","correlator":"",'
        f'"nonce":"{NONCE}","operation":"session-attributes-set","time":{NOW}}}'
    )
    assert other_sign("k1", KEY, WORK, NOW, NONCE) == SIGNED
    assert check(parse(SIGNED), KEY, WORK, now=NOW, oldest=120) == Verified("k1", Nonce(NONCE, NOW))


@given(KEY_IDS, st.binary(min_size=32, max_size=80), WORKS, TIMES, NONCES)
def test_what_is_signed_passes(key_id: str, key: bytes, work: Signed, time: int, nonce: str) -> None:
    """Whatever was signed with a key passes with that key, and its parts are read back."""
    text = sign(key_id, key, work, time, nonce)
    if all(ord(char) < 0xD800 for name in work.arguments for char in name):
        assert text == other_sign(key_id, key, work, time, nonce)
    signature = parse(text)
    assert (signature.key_id, signature.time, signature.nonce) == (key_id, time, nonce)
    assert check(signature, key, work, now=time, oldest=1) == Verified(key_id, Nonce(nonce, time))


@given(WORKS, WORKS)
def test_other_work_never_passes(work: Signed, other: Signed) -> None:
    """A signature fits the work that it was made for and no other."""
    code = refused(sign("k1", KEY, work, NOW, NONCE), work=other)
    assert code == (0 if work == other else 4020)


@pytest.mark.parametrize("field", ["agent", "appliance", "operation", "correlator", "by"])
def test_each_part_of_the_work_is_bound(field: str) -> None:
    """Every text that the work consists of counts, also where it is only longer by a space."""
    changes: dict[str, Any] = {field: f"{getattr(WORK, field)} "}
    assert refused(SIGNED, work=replace(WORK, **changes)) == 4020


@pytest.mark.parametrize("arguments", [{}, {**WORK.arguments, "a": ""}, {**WORK.arguments, "lsid": "0" * 32}])
def test_each_argument_is_bound(arguments: dict[str, str]) -> None:
    """No argument can be taken away, added or changed."""
    assert refused(SIGNED, work=replace(WORK, arguments=arguments)) == 4020


@given(st.data())
def test_a_changed_signature_is_refused(data: st.DataObject) -> None:
    """Any one character that is changed, added or left out spoils a signature, but in its key id it names no key."""
    place = data.draw(st.integers(0, len(SIGNED) - 1))
    char = data.draw(st.characters(min_codepoint=32, max_codepoint=0x10FFFF, exclude_categories=("Cs",)))
    kind = data.draw(st.sampled_from(["change", "add", "take"]))
    rest = SIGNED[place:] if kind == "add" else SIGNED[place + 1 :]
    changed = SIGNED[:place] + ("" if kind == "take" else char) + rest
    found = read(changed)
    if isinstance(found, Signature):
        code = refused(changed, key=KEY if found.key_id == "k1" else None)
        assert code == (0 if changed == SIGNED else 4020 if found.key_id == "k1" else 4019)
    else:
        assert found == 4018


@given(st.text(max_size=300) | st.from_regex(r"v1(\.[A-Za-z0-9_=+/-]{0,70}){3,6}"))
def test_any_text_is_a_signature_or_refused(text: str) -> None:
    """Reading never fails in another way, and what is read is within its bounds and the only form of itself."""
    found = read(text)
    if isinstance(found, Signature):
        assert len(found.mac) == 32
        code = base64.urlsafe_b64encode(found.mac).decode().rstrip("=")
        assert f"v1.{found.key_id}.{found.time}.{found.nonce}.{code}" == text
    else:
        assert found == 4018


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "v1",
        SIGNED.replace("v1", "v2"),
        SIGNED.replace("v1", "V1"),
        f" {SIGNED}",
        f"{SIGNED}\n",
        f"{SIGNED}=",
        f"{SIGNED}.x",
        SIGNED.replace(".k1.", ".."),
        SIGNED.replace(".k1.", f".{'k' * 33}."),
        SIGNED.replace(".k1.", ".k\u00e9."),
        SIGNED.replace(".k1.", ".k 1."),
        SIGNED.replace(str(NOW), f"0{NOW}"),
        SIGNED.replace(str(NOW), f"+{NOW}"),
        SIGNED.replace(str(NOW), f"-{NOW}"),
        SIGNED.replace(str(NOW), f"{NOW}000"),
        SIGNED.replace(str(NOW), "\u0661" * 10),
        SIGNED.replace(NONCE, "short67"),
        SIGNED.replace(NONCE, "n" * 65),
        SIGNED.replace(NONCE, NONCE[:-1] + "="),
        SIGNED[:-1],
        SIGNED[:-43] + "A" * 42 + "B",
        SIGNED[:-43] + "A" * 42 + "=",
        SIGNED[:-43] + "+" * 43,
        "v1." * 1000,
    ],
)
def test_the_form_is_strict(text: str) -> None:
    """Another version, a sign, a leading zero, look-alike digits, padding, a code with spare bits set: none passes."""
    with pytest.raises(WorkError) as error:
        parse(text)
    assert error.value.number == 4018


def test_the_time_is_bounded_on_both_sides() -> None:
    """A signature passes from `SKEW` before its time until `oldest` and `SKEW` after it, and not a second longer."""
    for oldest in (0.0, 120.0, 3600.0):
        assert refused(SIGNED, now=NOW + oldest + SKEW, oldest=oldest) == 0
        assert refused(SIGNED, now=NOW + oldest + SKEW + 1, oldest=oldest) == 4021
        assert refused(SIGNED, now=NOW - SKEW, oldest=oldest) == 0
        assert refused(SIGNED, now=NOW - SKEW - 1, oldest=oldest) == 4021


@given(TIMES, st.floats(0, 10**7), st.floats(-(10**7), 10**7))
def test_what_is_forgettable_never_passes_again(now: int, oldest: float, later: float) -> None:
    """From the moment that a signature is older than what may be forgotten, it is refused for its age for ever."""
    text = sign("k1", KEY, WORK, now, NONCE)
    clock = now + later
    if now < forgettable(clock, oldest):
        assert refused(text, now=clock, oldest=oldest) == 4021
        assert refused(text, now=clock + abs(later), oldest=oldest) == 4021


def test_a_wrong_code_is_told_before_the_time() -> None:
    """Of a forged signature only that is told, whatever its time and whatever the work holds."""
    forged = SIGNED.replace(str(NOW), "1")
    assert refused(forged) == 4020
    assert refused(SIGNED, key=None, now=0) == 4019
    assert refused(SIGNED, key=KEY[::-1]) == 4020
    assert refused(SIGNED, work=replace(WORK, by="\ud800")) == 4020


def test_the_key_of_another_id_does_not_help() -> None:
    """The code is judged with the key of the id that the signature names, and an id without key is unknown."""
    signature = parse(sign("k2", KEY, WORK, NOW, NONCE))
    assert isinstance(signature, Signature)
    with pytest.raises(WorkError, match="'k2'") as error:
        check(signature, None, WORK, now=NOW, oldest=1)
    assert error.value.number == 4019


@pytest.mark.parametrize(
    ("required", "safe", "by_operation", "expected"),
    [
        (False, False, False, False),
        (False, True, False, False),
        (False, True, True, True),
        ("unsafe", True, False, False),
        ("unsafe", False, False, True),
        ("unsafe", True, True, True),
        (True, True, False, True),
        (True, False, True, True),
    ],
)
def test_which_calls_must_be_signed(required: Any, safe: bool, by_operation: bool, expected: bool) -> None:
    """All, none, or those that are not safe to repeat; an operation's own demand only adds to it."""
    assert needed(required, safe=safe, by_operation=by_operation) is expected
