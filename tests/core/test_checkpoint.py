"""Checkpoints as signed notes: their text, and what signatures prove of a log."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from relay.core.chain import Bad
from relay.core.checkpoint import (
    LONGEST_NOTE,
    Checkpoint,
    Note,
    PublicKey,
    Signature,
    origin_of,
    parse_keys,
    parse_note,
    signers,
)
from relay.core.checkpoint_trust import Judgement, Seen, Told, judge
from relay.core.merkle import EMPTY, Tree, leaf_hash

ORIGIN = origin_of("relay01")
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The example key of the reference implementation of signed notes (Go, sumdb/note), and its example below."""
EXAMPLE = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
EXAMPLE_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def check(key: PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


class Signer:
    """A key to sign with."""

    def __init__(self, seed: int, name: str = ORIGIN) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = PublicKey(name, self.private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> Signature:
        return Signature(self.public.name, self.public.id, self.private.sign(checkpoint.body.encode()))


OLD, NEW, STRANGER = Signer(1), Signer(2), Signer(3)


def noted(size: int, root: bytes, *by: Signer, origin: str = ORIGIN) -> Note:
    checkpoint = Checkpoint(origin, size, root)
    return Note(checkpoint, tuple(one.sign(checkpoint) for one in by))


def test_a_published_key_is_read() -> None:
    """The key id and text form are those of the reference implementation, and its example signature holds."""
    key = PublicKey.parse(VKEY)
    assert (key.name, key.id.hex(), key.vkey) == ("PeterNeumann", "c74f20a3", VKEY)
    value = base64.b64decode(EXAMPLE_SIGNATURE)
    assert value[:4] == key.id == hashlib.sha256(b"PeterNeumann\n\x01" + key.key).digest()[:4]
    assert check(key, EXAMPLE.encode(), value[4:])


@pytest.mark.parametrize(
    "wrong",
    ["", "a", "a+b", VKEY + "x", VKEY.replace("c7", "c8"), VKEY.replace("ARp", "AhS"), VKEY[:-1], "+c74f20a3+ARpc",
     VKEY.replace("Peter", "Peter "), VKEY.replace("c74f20a3", "C74F20A3"), "\ud800+00+AA==",
     PublicKey("\x9b31m", b"k" * 32).vkey],
)  # fmt: skip
def test_what_is_no_key_is_refused(wrong: str) -> None:
    """A key that does not agree with its own id, or is of another kind, is not taken."""
    with pytest.raises(ValueError):  # noqa: PT011  # that nothing else is raised is the point
        PublicKey.parse(wrong)


def test_a_file_of_keys_is_read() -> None:
    """One key a line, comments and empty lines aside; a file without a key is an error."""
    assert parse_keys(f"# noted at the start\n\n{VKEY}\n{OLD.public.vkey}\n") == [PublicKey.parse(VKEY), OLD.public]
    for wrong in ("", "# nothing\n", f"{VKEY}\nnonsense\n"):
        with pytest.raises(ValueError):  # noqa: PT011  # as above
            parse_keys(wrong)


def test_a_checkpoint_is_a_signed_note() -> None:
    """Origin, size and root a line each, an empty line, a line a signature, exactly as C2SP writes them."""
    note = noted(2, b"\x11" * 32, OLD, NEW)
    origin, size, root, empty, old, new, end = note.text.split("\n")
    assert (origin, size, base64.b64decode(root), empty, end) == ("bseries-relay/relay01", "2", b"\x11" * 32, "", "")
    for line, key in ((old, OLD), (new, NEW)):
        dash, name, value = line.split(" ")
        assert (dash, name) == ("\u2014", ORIGIN)
        assert base64.b64decode(value)[:4] == key.public.id
        assert check(key.public, note.text[: note.text.index("\n\n") + 1].encode(), base64.b64decode(value)[4:])


def test_an_origin_has_no_space() -> None:
    """A relay's name may have spaces, an origin may not; two names never share an origin."""
    assert origin_of("relay 01") == "bseries-relay/relay%2001"
    assert len({origin_of(name) for name in ("a b", "a_b", "a.b", "a-b")}) == 4


@given(
    size=st.integers(0, 10**17), root=st.binary(min_size=32, max_size=32), extra=st.lists(st.text("abc ", min_size=1))
)
def test_a_note_is_read_as_it_was_written(size: int, root: bytes, extra: list[str]) -> None:
    """Text and value are the same thing, further signed lines included, also as a copy out of log or table."""
    if any(line != line.strip() for line in extra):
        extra = []
    checkpoint = Checkpoint(ORIGIN, size, root, tuple(extra))
    note = Note(checkpoint, (OLD.sign(checkpoint),))
    text = note.text
    escaped = text.replace("\n", "\\n"), text.replace("\n", "\\\\n")
    copies = (text, text.rstrip("\n"), text.replace("\n", "\r\n"), *escaped, f"\n{text}\n")
    assert {parse_note(copy) for copy in copies} == {note}
    assert signers(note, [NEW.public, OLD.public], check) == (OLD.public,)


TEXT = noted(7, b"\x07" * 32, OLD).text


@pytest.mark.parametrize(
    "wrong",
    [
        "", "x", "a\n\nb", TEXT.replace("\n\n", "\n"), TEXT.replace("\n7\n", "\n07\n"), TEXT.replace("\n7\n", "\n-7\n"),
        TEXT.replace("\n7\n", "\n\u0667\n"), TEXT.replace("\n7\n", "\n"), TEXT.replace("Bwc", "Bw!", 1),
        TEXT.replace("BwcHBwc=", "Bwc=", 1), TEXT.replace("\u2014", "-"), TEXT.replace("relay01\n7", "relay01\n\n7"),
        TEXT.replace("relay01\n", "relay\t01\n", 1), TEXT + "more\n", "x" * (LONGEST_NOTE + 1),
        TEXT + TEXT.splitlines(keepends=True)[-1] * 16,
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(wrong: str) -> None:
    """Text that is not exactly a checkpoint is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011  # that nothing else is raised is the point
        parse_note(wrong)


@given(text=st.text(max_size=80) | st.text("\n\u2014 +=0aA\\", max_size=60).map(lambda end: TEXT[:-40] + end))
def test_any_text_is_a_note_or_a_value_error(text: str) -> None:
    """Whatever a file holds, reading it ends in a note or a ValueError."""
    try:
        note = parse_note(text)
    except ValueError:
        return
    if note.signatures:  # those of other kinds are not kept
        assert parse_note(note.text) == note


@given(data=st.data())
def test_a_changed_note_proves_nothing(data: st.DataObject) -> None:
    """Any other character in what is signed, or in the signature, and no known key has signed it."""
    place = data.draw(st.integers(0, len(TEXT) - 2))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda char: char != TEXT[place]))
    try:
        note = parse_note(TEXT[:place] + other + TEXT[place + 1 :])
        assert signers(note, [OLD.public], check) == ()
    except ValueError:
        return


def test_signatures_of_other_kinds_and_keys_are_left_out() -> None:
    """A line of a witness that is not known, or of another algorithm, does not spoil a note."""
    text = noted(1, EMPTY, STRANGER, OLD).text + f"\u2014 witness.example {base64.b64encode(b'x' * 80).decode()}\n"
    note = parse_note(text)
    assert len(note.signatures) == 2
    assert signers(note, [OLD.public], check) == (OLD.public,)
    assert signers(note, [NEW.public], check) == ()


def test_a_key_of_another_log_vouches_for_nothing() -> None:
    """A known key signs for its own log only."""
    with pytest.raises(ValueError, match="another log"):
        signers(noted(1, EMPTY, OLD, origin="bseries-relay/other"), [OLD.public], check)


# -- what checkpoints prove of a log -------------------------------------------------------------------------------


def seen(count: int, bad: Bad | None = None, told: Sequence[Told] = (), forged: int = 0) -> Seen:
    """A log of some lines, the one numbered `forged` and all after it another's."""
    trees = [Tree()]
    for number in range(1, count + 1):
        line = b"%d" % number if not forged or number < forged else b"forged %d" % number
        trees.append(trees[-1].with_leaves([leaf_hash(line)]))
    return Seen(bad, count, {tree.size: tree.root for tree in trees}, told)


HONEST = seen(12)


def at(size: int, *by: Signer) -> Note:
    return noted(size, HONEST.roots[size], *by)


def judged(log: Seen, *notes: Note, keys: Sequence[Signer] = (OLD,)) -> Judgement:
    named = {f"{number}": note for number, note in enumerate(notes)}
    return judge(log, named, [one.public for one in keys], check)


def test_a_sound_log_satisfies_its_checkpoints() -> None:
    """Checkpoints at any size fit, in whatever order they come, that of the empty log included."""
    found = judged(HONEST, at(12, OLD), at(0, OLD), at(5, OLD))
    assert (found.bad, found.problems) == (None, ())
    assert [note.size for note in found.verified] == [0, 5, 12]
    assert judged(HONEST).verified == ()


@given(forged=st.integers(1, 12), sizes=st.sets(st.integers(1, 12)))
def test_a_chain_made_anew_is_found(forged: int, sizes: set[int]) -> None:
    """Whoever changes a line and all hashes after it is found by the first checkpoint that covers the line."""
    found = judged(seen(12, forged=forged), *(at(size, OLD) for size in sizes))
    covering = sorted(size for size in sizes if size >= forged)
    if not covering:
        assert found.bad is None
        return
    assert found.bad is not None
    assert found.bad.seq == 1 + max((size for size in sizes if size < forged), default=0)
    assert str(covering[0]) in found.bad.reason
    assert all(note.size < forged for note in found.verified)


def test_the_missing_end_is_named() -> None:
    """A log that is shorter than a checkpoint lacks the line after its last one."""
    found = judged(seen(8), at(8, OLD), at(11, OLD))
    assert found.bad is not None
    assert found.bad.seq == 9
    assert "covers 11 lines" in found.bad.reason


def test_the_chain_is_more_exact_than_a_checkpoint() -> None:
    """Where both see the same change the line that the chain names counts; an earlier forgery comes first."""
    broken = Bad(7, "was changed")
    assert judged(seen(12, broken), at(5, OLD), at(10, OLD)).bad == broken
    earlier = judged(seen(12, broken, forged=3), at(5, OLD), at(10, OLD)).bad
    assert earlier is not None
    assert earlier.seq == 1
    assert "lines 1 to 5" in earlier.reason
    exact = judged(seen(12, forged=5), at(4, OLD), at(5, OLD)).bad
    assert exact is not None
    assert "line 5 is not" in exact.reason


TOLD = (Told(1, OLD.public), Told(6, OLD.public), Told(6, NEW.public))


@pytest.mark.parametrize("known", [OLD, NEW])
def test_one_key_leads_to_the_others(known: Signer) -> None:
    """Through a rotation that both keys signed, or a line that a later checkpoint covers, every key is trusted."""
    notes = (at(3, OLD), at(6, OLD, NEW), at(9, NEW))
    found = judged(seen(12, told=TOLD), *notes, keys=[known])
    assert (found.bad, found.problems) == (None, ())
    assert found.keys == {OLD.public, NEW.public}
    assert len(found.verified) == 3


def test_a_key_that_gave_way_signs_no_more() -> None:
    """Beyond the line that tells of its successor a former key counts only beside it, whoever else is told of later."""
    told = [Told(1, OLD.public), Told(6, NEW.public, OLD.public), Told(6, OLD.public)]
    notes = (at(5, OLD), at(7, OLD, NEW), at(9, NEW))
    for known in (OLD, NEW):
        assert judged(seen(12, told=told), *notes, keys=[known]).problems == ()
    thief = [Told(10, STRANGER.public, NEW.public), Told(11, STRANGER.public, OLD.public)]
    for by in ((OLD,), (OLD, STRANGER)):
        found = judged(seen(12, told=[*told, *thief]), *notes, at(12, *by), keys=[NEW])
        assert found.problems == (("3", "only a key signed it that had given way to another"),)
        assert [note.size for note in found.verified] == [5, 7, 9]
        assert found.keys == {OLD.public, NEW.public}
    turning = [Told(6, NEW.public, OLD.public), Told(7, OLD.public, NEW.public)]
    assert judged(seen(12, told=turning), at(9, OLD, NEW)).verified == ()


def test_a_key_that_only_the_log_tells_of_is_not_trusted() -> None:
    """A key line behind the last trusted checkpoint, or in a forged log, makes no key trusted."""
    behind = judged(seen(12, told=[Told(10, STRANGER.public)]), at(9, OLD), at(12, STRANGER))
    assert behind.keys == {OLD.public}
    assert behind.problems == (("1", "no known key signed it"),)
    forged = seen(12, told=[Told(2, STRANGER.public)], forged=2)
    mine = noted(12, forged.roots[12], STRANGER)
    found = judged(forged, at(9, OLD), mine)
    assert found.bad is not None
    assert found.keys == {OLD.public}


def test_a_false_signature_is_a_problem() -> None:
    """A note that claims a known key without its signature is told by its name."""
    true = at(4, OLD)
    false = Note(Checkpoint(ORIGIN, 4, b"\x01" * 32), true.signatures)
    moved = Note(Checkpoint(ORIGIN, 5, HONEST.roots[5]), true.signatures)
    found = judged(HONEST, true, false, moved)
    assert found.problems == (("1", "a signature is false"), ("2", "a signature is false"))
    assert found.verified == (true,)
