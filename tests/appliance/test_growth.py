"""XML that is small on the wire and large in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.peak import peak

from relay.appliance import values
from relay.appliance.values import LARGE, MOST_ELEMENTS, JsonShaper
from relay.core.errors import ApplianceError
from relay.core.record import Reply
from relay.host.xml import XmlError, XmlSource, read_xml

SIZE = 5 * 1024 * 1024
PIECES = {
    "elements": b"<b/>",
    "texts": b"<b>1</b>",
    "attributes": b"<b c='1' d='1' e='1' f='1'/>",
    "namespaces": b"<b xmlns:c='d'/>",
    "lists": b"<b_list><c/></b_list>",
}


def shape(body: bytes) -> Reply:
    return JsonShaper().to_json(Reply(200, (), body))


def document(piece: bytes, size: int) -> bytes:
    return b"<a>" + piece * (size // len(piece)) + b"</a>"


@pytest.mark.parametrize("name", PIECES)
def test_the_largest_answer_of_small_elements_is_bounded_in_memory(name: str) -> None:
    """As many small elements as fit into an answer, or as are read, cost less than 96 MiB."""
    piece = PIECES[name]
    nodes = {"attributes": 5, "lists": 2}.get(name, 1)
    within = document(piece, (MOST_ELEMENTS // nodes - 1) * len(piece))
    for body in (document(piece, SIZE), within):
        before = peak(anew=True)
        if body is within and len(within) <= SIZE:
            assert shape(body).body
        else:
            with pytest.raises(ApplianceError, match="BSR-3009"):
                shape(body)
        assert peak() - before < 96 * 1024 * 1024, name


def test_an_honest_report_of_the_largest_size_is_read() -> None:
    """Five mebibytes of elements as reports have them pass."""
    piece = b"<event timestamp='1609459200'><body>said</body></event>"
    assert shape(document(piece, SIZE)).status == 200


def test_a_text_has_a_largest_size() -> None:
    """One text or attribute of more than ten megabytes is refused, whatever the rest."""
    for body in (b"<a>" + b"x" * 10_000_001 + b"</a>", b"<a b='" + b"x" * 10_000_001 + b"'/>"):
        with pytest.raises(XmlError):
            read_xml(body, XmlSource(10))


def test_large_answers_are_shaped_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several large answers at once one is unfolded at a time; small ones do not wait for it."""
    under_way, most = 0, 0
    counting = threading.Lock()
    small_done = threading.Event()
    real = values._shape

    def shaping(xml: bytes) -> bytes:
        nonlocal under_way, most
        if len(xml) <= LARGE:
            return real(xml)
        with counting:
            under_way += 1
            most = max(most, under_way)
        small_done.wait(10)
        with counting:
            under_way -= 1
        return b"{}"

    monkeypatch.setattr(values, "_shape", shaping)
    shaper = JsonShaper()
    with ThreadPoolExecutor(4) as pool:
        large = [pool.submit(shaper.to_json, Reply(200, (), document(b"<b/>", LARGE + 10))) for _ in range(3)]
        assert pool.submit(shaper.to_json, Reply(200, (), b"<a>1</a>")).result(10).body == b'{"a": "1"}'
        small_done.set()
        assert all(one.result(10).body == b"{}" for one in large)
    assert most == 1
