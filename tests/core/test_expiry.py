"""When a certificate's end is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.codes import code_of
from relay.core.expiry import DAY, Certificate, ending

CERTIFICATES: list[Certificate] = ["own", "servicenow", "appliance"]


@pytest.mark.parametrize(("certificate", "family"), [("own", 1), ("servicenow", 2), ("appliance", 3)])
def test_thirty_days_and_seven(certificate: Certificate, family: int) -> None:
    """From 30 days before the end on it is a warning, from 7 days on an error, each of the side's own family."""
    assert ending(certificate, 30 * DAY) is None
    for days, severity in ((29.99, "warning"), (7.0, "warning"), (6.99, "error"), (0.0, "error"), (-400.0, "error")):
        number = ending(certificate, days * DAY)
        assert number is not None
        assert (number // 1000, code_of(number).severity) == (family, severity)


@given(st.sampled_from(CERTIFICATES), st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_it_only_gets_worse(certificate: Certificate, seconds: float, less: float) -> None:
    """With less time left it is never less severe."""
    rank = {None: 0, "warning": 1, "error": 2}
    ranks = []
    for left in (seconds, seconds - less):
        number = ending(certificate, left)
        ranks.append(rank[code_of(number).severity if number is not None else None])
    assert ranks == sorted(ranks)
