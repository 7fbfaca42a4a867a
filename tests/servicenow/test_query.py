"""Encoded queries are made of terms, and no value becomes another term."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.servicenow.query import FIELDS, Term, UnmatchableError, build, equals, none_of, one_of

PIECES = st.sampled_from(
    [
        "^",
        "^OR",
        "^NQ",
        "^ORDERBY",
        "^EQ",
        "=",
        "!=",
        "IN",
        "NOT IN",
        "LIKE",
        ",",
        "javascript:",
        "gs.user()",
        "NULL",
        " ",
    ]
)
VALUES = st.one_of(st.text(max_size=20), st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=6).map("".join))
FIELD = st.sampled_from(sorted(FIELDS))
TERMS = st.one_of(
    st.builds(equals, FIELD, VALUES),
    st.builds(one_of, FIELD, st.lists(VALUES, min_size=1, max_size=4)),
    st.builds(none_of, FIELD, st.lists(VALUES, min_size=1, max_size=4)),
)
WRITTEN = re.compile(r"([a-z_]+)(NOT IN|IN|=)(.+)", re.DOTALL)


def as_the_instance_reads(query: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """A reader of encoded queries that knows nothing of the writer."""
    terms = []
    for part in query.split("^"):
        if part.startswith("ORDERBY"):
            continue
        found = WRITTEN.fullmatch(part)
        assert found is not None, part
        field, operator, value = found.groups()
        terms.append((field, operator, (value,) if operator == "=" else tuple(value.split(","))))
    return terms


@given(st.lists(TERMS, min_size=1, max_size=5))
def test_injection(terms: list[Term]) -> None:
    """Whatever the values are, the instance reads exactly the terms that were built, or nothing is sent at all."""
    try:
        query = build(*terms, order=("priority", "sys_id"))
    except UnmatchableError:
        return
    assert as_the_instance_reads(query) == [(term.field, term.operator, term.values) for term in terms]
    assert "javascript:" not in query.lower()
    assert query.isprintable()


def test_poll_query() -> None:
    """The poll's query is the one that the protocol gives."""
    query = build(
        equals("agent", "mid.server.Relay 01"),
        equals("queue", "output"),
        equals("state", "ready"),
        none_of("sys_id", ["a" * 32, "b" * 32]),
        order=("priority", "sys_created_on", "sys_id"),
    )
    assert query == (
        "agent=mid.server.Relay 01^queue=output^state=ready^sys_idNOT IN" + "a" * 32 + "," + "b" * 32 + ""
        "^ORDERBYpriority^ORDERBYsys_created_on^ORDERBYsys_id"
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        " a",
        "a ",
        "a^state=ready",
        "a^",
        "a\n",
        "a\x00b",
        "a\u202eb",
        "a\u2028b",
        "\ud800",
        "javascript:gs.getUserID()",
        "JavaScript :x",
        "\uff4aavascript:x",
        "x gs.now()",
        "NULL",
        "null",
        "EMPTYSTRING",
        "=x",
        "!=x",
        ">x",
        "<x",
        "*x",
        "%x",
        "@x",
        "|x",
        "a" * 1001,
    ],
)
def test_refused_values(value: str) -> None:
    """A value that would mean something else than itself matches nothing, and the message does not quote it."""
    with pytest.raises(UnmatchableError) as caught:
        build(equals("name", value))
    assert len(value) < 5 or value not in str(caught.value)


def test_comma() -> None:
    """A comma is an ordinary character in `=` and separates values in `IN`."""
    assert build(equals("name", "a,b")) == "name=a,b"
    with pytest.raises(UnmatchableError):
        build(one_of("name", ["a,b"]))


@pytest.mark.parametrize(
    "term",
    [
        Term("u_field", "=", ("a",)),
        Term("name", "STARTSWITH", ("a",)),  # type: ignore[arg-type]
        Term("a^b", "=", ("a",), named=True),
    ],
)
def test_closed_sets(term: Term) -> None:
    """Fields and operators that the relay does not ask by are a fault of the caller."""
    with pytest.raises(ValueError, match="no query by"):
        build(term)


@pytest.mark.parametrize("term", [Term("name", "=", ("a", "b")), Term("name", "IN", ()), Term("name", "=", ())])
def test_number_of_values(term: Term) -> None:
    """`=` takes one value, `IN` at least one."""
    with pytest.raises(ValueError, match="values"):
        build(term)


def test_order_is_closed_too() -> None:
    """Rows are ordered by known fields only."""
    with pytest.raises(ValueError, match="no order by"):
        build(equals("name", "a"), order=("u_field",))
