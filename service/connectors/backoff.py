"""How long to wait before the next try."""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Waits twice as long each time, up to a limit, and never at the same moment as all others.

    Args:
        first_s: seconds before the first new try.
        longest_s: seconds that are never exceeded.
    """

    def __init__(self, first_s: float = 0.25, longest_s: float = 30.0) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    async def wait(self, at_least_s: float = 0.0) -> None:
        """Wait; full jitter over the upper half."""
        await asyncio.sleep(max(at_least_s, self._next_s * random.uniform(0.5, 1.0)))
        self._next_s = min(2 * self._next_s, self._longest_s)

    def reset(self) -> None:
        """Something went well: the next wait is the first again."""
        self._next_s = self._first_s
