"""A budget of alarm events, kept as one keeps a purse.

It is filled at the budget's pace and holds so many events at most. Every alarm takes one out; where
none is left it is a debt, and the level is lowered by `exp(-caution * debt)` until it is paid off.

The budget is one of false alarms. Nobody knows which are false when they are raised, so that each
takes an event out; what a person calls true is given back: the purse is then what it were had that
alarm taken nothing. It is worked out from when alarms were raised, so that an event is given back
once however often it is said, and is taken again, to the same amount, where the last word is false.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND

#: So long after an alarm, in judged rows, does a word on it change the purse; alarms remembered.
WITHIN: Final = 24 * 3600 * SECOND
REMEMBERED: Final = 64


@dataclass(slots=True)
class Purse:
    """Of one stream; moments are microseconds of rows that it has judged.

    Attributes:
        debt: events that are not paid off; what is saved is below 0.
        taken: by number of an alarm, when it took its event out, the oldest first.
        true: those of them that were called true.
        before: the debt just before the oldest of them, and when that was.
    """

    debt: float = 0.0
    taken: dict[int, int] = field(default_factory=dict)
    true: list[int] = field(default_factory=list)
    before: tuple[float, int] = (0.0, 0)

    @classmethod
    def begin(cls, saved: float) -> Purse:
        """With so many events saved."""
        return cls(debt=-saved, before=(-saved, 0))

    def lowered(self, config: StreamConfig) -> float:
        """What the level is multiplied with, in (0, 1]."""
        if self.debt <= 0 or config.events is None:
            return 1.0
        return math.exp(-config.caution * self.debt)

    def pay(self, config: StreamConfig, period_s: float) -> None:
        """A row's time has passed: so much of the debt is paid off."""
        paid = (config.events or 0.0) * period_s / 3600
        self.debt = max(-config.saved_events, self.debt - paid)

    def take(self, number: int, now: int, config: StreamConfig) -> None:
        """An alarm was raised."""
        self.taken[number] = now
        self.debt += 1
        for old, at in list(self.taken.items()):
            if len(self.taken) <= REMEMBERED and now - at <= WITHIN:
                break
            self.before = (self._after(old, self.before, config), at)
            del self.taken[old]
            if old in self.true:
                self.true.remove(old)

    def close(self, now: int, config: StreamConfig) -> None:
        """The budget is another from now on: what was taken stays taken, whatever is said of it."""
        self.debt = max(-config.saved_events, self.debt)
        self.taken, self.true, self.before = {}, [], (self.debt, now)

    def say(self, number: int, true: bool, now: int, config: StreamConfig) -> tuple[float, str]:
        """Somebody has said whether an alarm was a true one.

        Returns:
            Events that are in the purse for it now and were not, below 0 where they are taken
            again, and what follows in words.
        """
        at = self.taken.get(number)
        if config.events is None:
            return 0.0, "it is a rate of rows, and counts no events"
        if at is None or now - at > WITHIN:
            hours = WITHIN / SECOND / 3600
            why = f"more than {hours:g} hours ago, or before the budget was changed"
            return 0.0, f"the alarm was {why}; it stands"
        if true == (number in self.true):
            return 0.0, "it has its event back already" if true else "the alarm took an event out"
        if true:
            self.true.append(number)
        else:
            self.true.remove(number)
        debt, since = self.before
        for one, moment in self.taken.items():
            debt, since = self._after(one, (debt, since), config), moment
        had = self.debt
        self.debt = _paid(debt, now - since, config)
        returned = round(had - self.debt, 6)
        if not returned:
            return 0.0, "nothing changes: quiet hours had filled it since"
        return returned, f"{abs(returned):g} events are {'given back' if true else 'taken again'}"

    def _after(self, number: int, before: tuple[float, int], config: StreamConfig) -> float:
        """The debt once an alarm has taken its event, if it took one."""
        debt, since = before
        return _paid(debt, self.taken[number] - since, config) + (number not in self.true)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values; see `of_json`."""
        taken = [[number, at] for number, at in self.taken.items()]
        return {"debt": self.debt, "taken": taken, "true": self.true, "before": list(self.before)}

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> Purse:
        """What `to_json` was taken of."""
        debt, at = said["before"]
        return cls(said["debt"], dict(said["taken"]), said["true"], (debt, at))


def _paid(debt: float, span: int, config: StreamConfig) -> float:
    """What is left of a debt after so many microseconds."""
    return max(-config.saved_events, debt - (config.events or 0.0) * span / SECOND / 3600)
