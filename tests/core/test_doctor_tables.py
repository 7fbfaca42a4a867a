"""Whether ServiceNow has what the configuration names."""

from __future__ import annotations

from relay.core.doctor_tables import Judged, Shape, Wanted, judge, merged, near

ALL = Wanted(
    "u_session",
    "sessions.tables.session.table",
    {"key": "sessions.tables.session", "u_id": "sessions.tables.session.fields.lsid", "details": "sessions.tables"},
    frozenset({"key", "u_id"}),
    number=2028,
)


def judged(shape: Shape, wanted: Wanted = ALL) -> list[Judged]:
    return judge(wanted, shape)


def test_all_is_there() -> None:
    """A table with every column is as it should be, and says how that was learned."""
    (one,) = judged(Shape(exists=True, columns=frozenset({"key", "u_id", "details", "more"}), way="sys_dictionary"))
    assert one == Judged("ok", "3 columns are there, by sys_dictionary")


def test_a_table_that_is_not_there() -> None:
    """It is an error with its key and the name that may have been meant; where it may be absent, it is none."""
    (one,) = judged(Shape(exists=False, alike=("u_sessions", "task")))
    assert (one.result, one.number) == ("error", 2028)
    assert one.detail == "sessions.tables.session.table: there is no table 'u_session'; did you mean 'u_sessions'?"
    (other,) = judged(Shape(exists=False), Wanted("x", "sessions.tables", {}, optional=True))
    assert (other.result, other.number) == ("ok", 0)


def test_columns_that_are_not_there() -> None:
    """A column that is named, or that is needed, is an error with its key; another one's loss is a warning."""
    shape = Shape(exists=True, columns=frozenset({"key", "u_ids"}), way="sys_dictionary")
    named, lost = judged(shape)
    assert (named.result, named.number) == ("error", 2029)
    assert "sessions.tables.session.fields.lsid: there is no column 'u_id'" in named.detail
    assert named.detail.endswith("; did you mean 'u_ids'?")
    assert (lost.result, lost.number) == ("warning", 2029)
    assert lost.detail.endswith("; what it would hold is lost")


def test_a_record_teaches_no_other_name() -> None:
    """What a record lacks is told, but not what may have been meant: it was asked for nothing else."""
    found = judged(Shape(exists=True, columns=frozenset({"key", "u_ids"}), way="a record"))
    assert "did you mean" not in "".join(one.detail for one in found)
    assert "by a record" in found[0].detail


def test_what_nobody_says_is_skipped() -> None:
    """Without a record and with a closed dictionary nothing is claimed of the columns; a refusal is an error."""
    (one,) = judged(Shape(exists=True))
    assert (one.result, one.number) == ("skipped", 0)
    (other,) = judged(Shape(exists=None, refused="table 'u_session': HTTP 403", number=2006))
    assert (other.result, other.number) == ("error", 2006)
    assert other.detail.startswith("sessions.tables.session.table: table 'u_session'")


def test_a_name_is_near_another() -> None:
    """Only a name that is near is proposed."""
    assert near("u_sesion", ["u_session", "task"]) == "; did you mean 'u_session'?"
    assert near("u_sesion", ["task"]) == ""


def test_wishes_for_one_table_are_one() -> None:
    """A table that several sections name is looked at once, with all columns, and needed when one needs it."""
    maybe = Wanted("task", "sessions.tables", {"a": "sessions.tables"}, optional=True, number=2028)
    surely = Wanted("task", "approvals", {"a": "approvals", "b": "approvals.x"}, frozenset({"b"}))
    (one,) = merged([maybe, surely])
    assert (one.key, one.optional, one.number) == ("approvals", False, 2029)
    assert one.columns == {"a": "sessions.tables", "b": "approvals.x"}
    assert one.needed == {"b"}
    (other,) = merged([surely, maybe])
    assert (other.key, other.optional, other.number) == ("approvals", False, 2029)
    assert merged([surely, Wanted("incident", "x", {})])[1].table == "incident"
