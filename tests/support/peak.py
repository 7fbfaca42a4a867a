"""The most memory that a process has had resident."""

from __future__ import annotations

from pathlib import Path


def peak(pid: int | str = "self", *, anew: bool = False) -> int:
    """Bytes; `anew` sets the peak back to what is resident now, and measures from then on."""
    folder = Path(f"/proc/{pid}")
    if anew:
        (folder / "clear_refs").write_text("5", encoding="ascii")
    lines = (folder / "status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
