"""Floods of alarms: when more come than a person can deal with.

Source: ANSI/ISA-18.2-2016: a flood begins with more than ten annunciated alarms in ten minutes for
one operator, and is over when fewer than five came in ten minutes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from service.anomaly.times import SECOND

#: More alarms than these in WINDOW begin a flood; fewer than these end it.
BEGINS, ENDS = 10, 5
WINDOW: Final = 600 * SECOND


class FloodWatch:
    """The alarms of one line, by the time at which they were raised.

    Args:
        raised: times of alarms that were raised already, microseconds since 1970.
        flooded: whether a flood was on.
    """

    def __init__(self, raised: tuple[int, ...] = (), flooded: bool = False) -> None:
        self._raised = deque(sorted(raised))
        self.flooded = flooded

    def note(self, time: int) -> bool | None:
        """An alarm was raised: True if a flood begins by it, False if one is over, else None."""
        ended = self.look(time)
        self._raised.append(time)
        if not self.flooded and len(self._raised) > BEGINS:
            self.flooded = True
            return True
        return ended

    def look(self, time: int) -> bool | None:
        """Time has passed: False if a flood is over by it, else None."""
        while self._raised and self._raised[0] <= time - WINDOW:
            self._raised.popleft()
        if self.flooded and len(self._raised) < ENDS:
            self.flooded = False
            return False
        return None

    @property
    def recent(self) -> int:
        """Alarms in the last ten minutes, as of what was last told."""
        return len(self._raised)
