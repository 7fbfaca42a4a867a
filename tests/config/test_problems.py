from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, problems

from relay.config.document import read
from relay.config.problems import Source, dotted, printable

LITERAL = "hunter2-and-more"


@pytest.mark.parametrize(
    "text",
    [
        SMALLEST.replace("{credential: servicenow_password}", LITERAL),
        SMALLEST.replace("{credential: servicenow_password}", f'"{LITERAL}"'),
        SMALLEST.replace("{credential: servicenow_password}", f"[{LITERAL}]"),
        SMALLEST.replace("{credential: servicenow_password}", f"{{{LITERAL}}}"),
        SMALLEST.replace("{credential: servicenow_password}", f"{{value: {LITERAL}}}"),
        SMALLEST.replace("{credential: servicenow_password}", f"{{credential: {LITERAL}, file: /x}}"),
        SMALLEST.replace("{credential: servicenow_password}", f"&{LITERAL} x"),
        SMALLEST.replace("{credential: servicenow_password}", f"*{LITERAL}"),
        SMALLEST.replace("{credential: servicenow_password}", f"!{LITERAL} x"),
        SMALLEST.replace("password: {credential: servicenow_password}", f"passwort: {LITERAL}"),
        SMALLEST.replace("password: {credential: servicenow_password}", f"pasword: {LITERAL}"),
        SMALLEST.replace("client_secret: {credential: appliance_secret}", f"clientSecret: {LITERAL}"),
        SMALLEST.replace("{credential: servicenow_password}", f"{LITERAL}, foo: 1"),
        SMALLEST + f"storage:\n  key: |\n    -----BEGIN KEY-----\n    {LITERAL}\n    -----END KEY-----\n",
        SMALLEST + f"storage:\n  key:\n    {LITERAL}\n",
        SMALLEST.replace("https://example", f"https://me:{LITERAL}@example"),
        SMALLEST.replace("https://example", f"http://me:{LITERAL}@example"),
        SMALLEST + f"servicenow2: https://me:{LITERAL}@example.com\n",
        # syntax errors, at which there is no tree yet
        SMALLEST.replace("{credential: servicenow_password}", f"{LITERAL}: x: [").replace("}}}", "}}"),
        SMALLEST + f"password: {LITERAL}: {LITERAL}\n",
        SMALLEST + f"password: '{LITERAL}\n",
        SMALLEST + f"password: |\n  {LITERAL}\n bad\n",
        SMALLEST + f"key: |\n  x\n{LITERAL}\n",
        SMALLEST + f"password: {LITERAL}\x07\n",
        SMALLEST + f"password: {LITERAL}\npassword: {LITERAL}\n",
    ],
)
def test_no_problem_shows_a_secret(tmp_path: Path, text: str) -> None:
    """Whatever is wrong on the line of a secret, the report does not repeat the secret."""
    found = problems(tmp_path, text)
    assert found
    assert LITERAL not in "\n".join(str(problem) for problem in found)


def test_the_caret_stands_right_after_masks(tmp_path: Path) -> None:
    """A mask before the column moves the caret along with the text."""
    text = SMALLEST.replace("{credential: servicenow_password}", "ab, username2: 1")
    by_number = {problem.number: problem for problem in problems(tmp_path, text)}
    line, caret = by_number[1003].excerpt.splitlines()
    assert line[caret.index("^") :].startswith("username2: 1")
    line, caret = by_number[1008].excerpt.splitlines()
    assert line[caret.index("^") :].startswith("********, username2")
    assert line[: caret.index("^")].endswith("password: ")


def test_a_reference_is_not_masked(tmp_path: Path) -> None:
    """The name of a credential is no secret and helps to find the mistake."""
    (problem,) = problems(tmp_path, SMALLEST.replace("{credential: servicenow_password}", "{credential: a/b}"))
    assert "{credential: a/b}" in problem.excerpt


def test_long_lines_are_cut_around_the_caret() -> None:
    """A long line is shown in the part that matters, and one that no person wrote not at all."""
    document = read("f", ("a: [" + "x, " * 1000 + "&y z]\n").encode())
    line, caret = document.problems[0].excerpt.splitlines()
    assert len(line) < 200
    assert line[caret.index("^")] == "&"
    document = read("f", ("a: [" + "x, " * 5000 + "&y z]\n").encode())
    assert (document.problems[0].headline.startswith("f:1:15005: "), document.problems[0].excerpt) == (True, "")


def test_tabs_and_control_characters_keep_their_place() -> None:
    """The caret stands under its character whatever stands before it; nothing can steer the terminal."""
    source = Source("a\t\x9b31m: x")
    source.learn([])
    assert source.excerpt(1, 4) == "    a ?31m: x\n       ^"
    assert printable("a\tb\x1b\u202e") == "a b??"


def test_lines_end_where_the_parser_ends_them(tmp_path: Path) -> None:
    """Carriage returns and the other line breaks of YAML are counted as the parser counts them."""
    text = "x: 1\r\ny: 2\r" + SMALLEST + "z: 3\n"
    assert [(problem.mark.line, problem.mark.column) for problem in problems(tmp_path, text) if problem.mark] == [
        (1, 1),
        (2, 1),
        (12, 1),
    ]
    assert problems(tmp_path, text)[2].excerpt == "    z: 3\n    ^"


def test_a_mask_ends_where_the_secret_ends(tmp_path: Path) -> None:
    """The line after a literal of several lines is shown as it is."""
    found = problems(tmp_path, SMALLEST + "storage:\n  key: |\n    a\n    b\n  kay: 1\nfoo: 1\n")
    assert found[-1].excerpt == "    foo: 1\n    ^"


def test_dotted_paths() -> None:
    """Indexes stand in brackets; what cannot be printed is replaced; endless keys are cut."""
    assert dotted(("policy", "allow", 0)) == "policy.allow[0]"
    assert dotted(("a\x1b", 1, "b")) == "a?[1].b"
    assert len(dotted(("k" * 5000,))) < 200


def test_an_excerpt_beyond_the_file_is_empty() -> None:
    """A place that no line has (a file that ends in the middle) is shown as an empty line."""
    assert Source("a").excerpt(7, 1) == "    \n    ^"
