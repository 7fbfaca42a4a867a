from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, problems

from relay.config.document import LARGEST, read
from relay.config.problems import Problem


def _first(content: str | bytes) -> Problem:
    document = read("f.yaml", content.encode() if isinstance(content, str) else content)
    assert document.problems
    return document.problems[0]


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ("a: 1\na: 2\n", "f.yaml:2:1: error[BSR-1004]: a: the key is given in line 1 already"),
        ("a: {b: 1, b: 2}", "f.yaml:1:11: error[BSR-1004]: a.b: the key is given in line 1 already"),
        ("'a': 1\na: 2\n", "f.yaml:2:1: error[BSR-1004]: a: the key is given in line 1 already"),
        (
            "a: &x 1\n",
            "f.yaml:1:4: error[BSR-1005]: a: anchors are not allowed; write the value out where it is needed",
        ),
        ("a: *x\n", "f.yaml:1:4: error[BSR-1005]: a: aliases are not allowed; write the value out"),
        ("*x : 1\n", "f.yaml:1:1: error[BSR-1005]: aliases are not allowed; write the key out"),
        ("a: !!str 1\n", "f.yaml:1:4: error[BSR-1005]: a: tags are not allowed; write the plain value"),
        ("a: ! 1\n", "f.yaml:1:4: error[BSR-1005]: a: tags are not allowed; write the plain value"),
        ("a: !!python/object/apply:os.system [id]\n", "f.yaml:1:4: error[BSR-1005]: a: tags are not allowed"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:1:1: error[BSR-1005]: tags are not allowed"),
        ("a:\n  <<: {b: 1}\n", "f.yaml:2:3: error[BSR-1005]: a: merge keys are not allowed; write the keys out"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2:1: error[BSR-1002]: only one document may stand in a file"),
        ("[1, 2]: 1\n", "f.yaml:1:1: error[BSR-1006]: a key must be text"),
        ("- 1\n", "f.yaml:1:1: error[BSR-1006]: write a map of keys"),
        ("text\n", "f.yaml:1:1: error[BSR-1006]: write a map of keys"),
        ("a: [1\n", "f.yaml:2:1: error[BSR-1002]: while parsing a flow sequence, did not find expected ',' or ']'"),
        ("a: b: c\n", "f.yaml:1:5: error[BSR-1002]: mapping values are not allowed in this context"),
        ("a: \x07\n", "f.yaml:1:4: error[BSR-1002]: the character U+0007 may not stand in YAML"),
        ("a: 1\r\nb: x\x00\n", "f.yaml:2:5: error[BSR-1002]: the character U+0000 may not stand in YAML"),
        (b"a: 1\nb: \xff\n", "f.yaml:2:4: error[BSR-1011]: the file is not UTF-8 from here on"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: error[BSR-1011]: the file is not UTF-8 from here on"),
        (b"#" * (LARGEST + 1), "f.yaml:1:1: error[BSR-1011]: the file is larger than 1 MiB"),
        ("[" * 40 + "]" * 40, "f.yaml:1:33: error[BSR-1002]: nested deeper than 32 levels"),
    ],
)
def test_what_is_refused(text: str | bytes, headline: str) -> None:
    """Whatever strict reading refuses is named with its line and column."""
    assert _first(text).headline.startswith(headline)


def test_a_file_of_exactly_one_mebibyte_is_read() -> None:
    """The limit itself is allowed."""
    assert read("f.yaml", b"#" * LARGEST).problems == ()


def test_reading_goes_on_after_a_refusal() -> None:
    """Every refused thing of one file is found in one reading."""
    text = "a: &x {b: *y}\nc: !t 1\nc: 2\n<<: {d: 1}\n"
    assert [problem.number for problem in read("f.yaml", text.encode()).problems] == [1005, 1005, 1005, 1004, 1005]


def test_a_mark_at_the_beginning_of_the_file_is_no_text() -> None:
    """An editor's byte order mark neither counts as a column nor is refused."""
    assert _first("\ufeffa: 1\na: 2").headline.startswith("f.yaml:2:1:")
    assert read("f.yaml", "\ufeffa: 1".encode()).problems == ()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "--- ~\n...\n", "null\n"])
def test_an_empty_document_is_a_map_without_keys(text: str) -> None:
    """A drop-in in which everything is commented out is no mistake."""
    document = read("f.yaml", text.encode())
    assert document.root is not None
    assert (dict(document.root.entries), document.problems) == ({}, ())


def test_a_document_that_would_unfold_without_end_costs_nothing() -> None:
    """Aliases and merge keys are refused where they are met; nothing of them is ever built."""
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 200)]
    before = time.process_time()
    document = read("f.yaml", "\n".join(lines).encode())
    assert time.process_time() - before < 5
    assert len(document.problems) > 200
    assert {problem.number for problem in document.problems} == {1005}


def test_the_deepest_nesting_is_found_without_reading_on() -> None:
    """A mebibyte of opening brackets ends at once, not in a recursion."""
    assert _first(b"[" * LARGEST).text == "nested deeper than 32 levels"


def test_a_syntax_error_in_one_file_does_not_hide_the_others(tmp_path: Path) -> None:
    """The files that can be read are judged although another cannot; what that one may hold is not called missing."""
    found = headlines(tmp_path, "servicenow: {pol: 1}\n", a="x: [\n", b="relay: {nam: x}\n")
    assert found == [
        "relay.yaml:1:14: error[BSR-1003]: servicenow.pol: unknown key; did you mean 'poll'?",
        "conf.d/a.yaml:2:1: error[BSR-1002]: while parsing a flow node, did not find expected node content",
        "conf.d/b.yaml:1:9: error[BSR-1003]: relay.nam: unknown key; did you mean 'name'?",
    ]


def test_what_is_spoiled_is_reported_once(tmp_path: Path) -> None:
    """An alias where a value belongs is one problem, not also a missing key."""
    found = problems(tmp_path, SMALLEST.replace("relay01", "*x"))
    assert [problem.number for problem in found] == [1005]
