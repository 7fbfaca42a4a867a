"""When new work may be taken."""

from relay.core.space import KEEPSAKES, RESERVE, may_claim, may_keep


def test_new_work_stops_before_the_disk_is_full() -> None:
    """With less than the reserve left nothing new is taken; with the reserve it is."""
    assert RESERVE == 8 * 1024 * 1024
    assert may_claim(RESERVE)
    assert not may_claim(RESERVE - 1)
    assert not may_claim(0)


def test_recordings_leave_more_room_than_work_needs() -> None:
    """A recording may be written while a multiple of the reserve is left after it, never what stops new work."""
    assert may_keep(KEEPSAKES + 100, 100)
    assert not may_keep(KEEPSAKES + 99, 100)
    assert may_claim(KEEPSAKES - 1)
