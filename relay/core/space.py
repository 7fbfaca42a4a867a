"""How much room the disk must have for new work to be taken."""

from __future__ import annotations

RESERVE = 8 * 1024 * 1024
"""Bytes. Jobs that were taken are finished within this: an answer, an audit line and a few changes of state for each.
A full disk also blocks deleting and checkpoints, so new work stops well before it is full."""


def may_claim(free: int) -> bool:
    """Whether new work may be taken with `free` bytes left on the store's file system."""
    return free >= RESERVE


KEEPSAKES = 8 * RESERVE
"""Bytes that recordings leave on their file system, which may be the store's: they must never be what stops work."""


def may_keep(free: int, size: int) -> bool:
    """Whether `size` bytes of a recording may be written with `free` bytes left on its file system."""
    return free - size >= KEEPSAKES
