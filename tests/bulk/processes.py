"""Who was started by whom."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """A process's children, theirs, and so on."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *children(int(child))]
    return found
