"""When new work may be taken."""

from relay.core.space import RESERVE, may_claim


def test_new_work_stops_before_the_disk_is_full() -> None:
    """With less than the reserve left nothing new is taken; with the reserve it is."""
    assert RESERVE == 8 * 1024 * 1024
    assert may_claim(RESERVE)
    assert not may_claim(RESERVE - 1)
    assert not may_claim(0)
