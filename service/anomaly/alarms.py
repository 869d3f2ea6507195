"""One stream's alarm: when it is raised, ends, is acknowledged, shelved, latched and reset.

A machine without a clock: time is that of the rows and of the operators' acts as they are handed
in, so that the same input gives the same events, byte for byte.

Source: OPC UA Part 9 (Alarms and Conditions) 1.05, sections 5.6 to 5.8, for the names and states
(OnDelay, OffDelay, deadband, ReAlarmTime, LatchedState, ShelvedStateMachine, Acknowledge, Confirm).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.errors import Conflict, UnknownAlarm

Change = Literal[
    "raised",
    "re-alarmed",
    "cleared",
    "acknowledged",
    "confirmed",
    "shelved",
    "unshelved",
    "reset",
    "judged-true",
    "judged-false",
    "drift-begun",
    "drift-ended",
    "drift-rebased",
]
ACTS: dict[str, Change] = {
    "acknowledge": "acknowledged", "confirm": "confirmed", "shelve": "shelved",
    "unshelve": "unshelved", "reset": "reset",
}  # fmt: skip
#: Alarms of a stream that are remembered with what operators did; older ones stand in the log.
REMEMBERED = 64


class Reading(NamedTuple):
    """What the row said at which something changed."""

    score: float
    p_value: float
    alpha: float
    #: sensors by their share of the error, the largest first: ((name, share), ...)
    contributors: tuple[tuple[str, float], ...] = ()


class Event(NamedTuple):
    """One line of the alarm log, without the stream that it is of."""

    number: int
    change: Change
    time: int
    reading: Reading | None
    historical: bool = False
    shelved: bool = False
    by: str | None = None
    comment: str | None = None
    until: int | None = None
    #: of a drift: what shows it
    evidence: dict[str, Any] | None = None
    #: events that the budget has back by what was said; below 0: taken again
    returned: float | None = None


@dataclass(slots=True)
class Standing:
    """What is known of one alarm of the stream."""

    raised: int
    cleared: int | None = None
    acknowledged: bool = False
    confirmed: bool = False
    historical: bool = False


@dataclass(slots=True)
class Alarm:
    """The alarm of one stream; times are microseconds since 1970.

    Attributes:
        number: alarms raised so far; the last one has this number, from 1.
        faulty: whether the process is in alarm now, by its rows.
        active: whether the alarm is: also while it is latched.
        exceeding_since: first row of the run that may become an alarm.
        quiet_since: first row of the run that may end it.
        announced: when it was last raised or announced again.
        shelved_until: None = not shelved; -1 = until the alarm ends.
        level: at which the process was last found in alarm. An alarm that spends the budget lowers
            the level of the next ones; it is not over for that.
    """

    number: int = 0
    faulty: bool = False
    active: bool = False
    exceeding_since: int | None = None
    quiet_since: int | None = None
    announced: int = 0
    shelved_until: int | None = None
    level: float = 0.0
    standings: dict[int, Standing] = field(default_factory=dict)

    def step(
        self, config: StreamConfig, time: int, exceeding: bool, reading: Reading, historical: bool
    ) -> list[Event]:
        """One row more, in the order of time; what changed by it.

        Args:
            config: of the stream.
            time: of the row.
            exceeding: whether its p-value is at most the level; during an alarm, at most
                `staying`.
            reading: of the row.
            historical: whether nobody is to be alarmed by it.
        """
        events: list[Event] = []
        if self.shelved_until is not None and 0 <= self.shelved_until <= time:
            events.append(self._unshelved(time, "the time is over", historical))
        if not self.faulty:
            if not exceeding:
                self.exceeding_since = None
            elif self.exceeding_since is None:
                self.exceeding_since = time
            if exceeding and time - (self.exceeding_since or 0) >= config.on_delay_s * SECOND:
                self.faulty, self.exceeding_since, self.quiet_since = True, None, None
                self.level = reading.alpha
                if not self.active:  # a latched one goes on
                    events.append(self._raise(time, reading, historical))
            return events
        if exceeding:
            self.quiet_since = None
            again = config.re_alarm_s
            if again is not None and time - self.announced >= again * SECOND:
                self.announced = time
                self.standings[self.number].acknowledged = False
                events.append(self._event("re-alarmed", time, reading, historical))
            return events
        if self.quiet_since is None:
            self.quiet_since = time
        if time - self.quiet_since >= config.off_delay_s * SECOND:
            self.faulty, self.quiet_since = False, None
            if not config.latch:
                events += self._clear(time, reading, historical)
        return events

    def staying(self, alpha: float, deadband: float) -> float:
        """The p-value up to which a row keeps the alarm on; `alpha` is the present level."""
        return max(alpha, self.level) * (1 + deadband)

    def interrupt(self) -> None:
        """Rows are missing: a run of exceeding rows does not go on across the gap."""
        self.exceeding_since = None
        self.quiet_since = None

    def leave_history(self, time: int) -> list[Event]:
        """Live rows begin: what history left open is closed, and alarms nobody."""
        self.interrupt()
        self.faulty = False
        return self._clear(time, None, True) if self.active else []

    def act(
        self, number: int, act: str, time: int, by: str, comment: str | None, until: int | None,
        *, silent: bool = False,
    ) -> Event:  # fmt: skip
        """What an operator does to an alarm.

        Args:
            number: of the alarm.
            act: one of `ACTS`.
            time: of the act.
            by: who acts.
            comment: in their words.
            until: end of a timed shelving; None shelves until the alarm ends.
            silent: whether no row has come for long: then nobody knows that the process is still
                in alarm, and it may be reset.

        Raises:
            UnknownAlarm: there is none of this number, or it is long over.
            Conflict: its state forbids the act; the message says why.
        """
        standing = self._standing(number)
        refusal = self._refusal(number, standing, act, silent)
        if refusal:
            raise Conflict(f"alarm {number}: {act}: {refusal}")
        if act == "acknowledge":
            standing.acknowledged = True
        elif act == "confirm":
            standing.confirmed = True
        elif act == "shelve":
            self.shelved_until = -1 if until is None else until
        elif act == "unshelve":
            self.shelved_until = None
        else:
            self.faulty = self.active = False
            self.quiet_since = None
            standing.cleared = time
            if self.shelved_until == -1:  # it was shelved until it ends
                self.shelved_until = None
        return Event(
            number, ACTS[act], time, None, standing.historical,
            self.shelved_until is not None, by, comment, until,
        )  # fmt: skip

    def judged(self, number: int, verdict: str, time: int, by: str, comment: str | None) -> Event:
        """Somebody says whether an alarm was a true one.

        Raises:
            UnknownAlarm: there is none of this number, or it is long over.
        """
        historical = self._standing(number).historical
        change: Change = "judged-true" if verdict == "true" else "judged-false"
        return Event(number, change, time, None, historical, False, by, comment)

    def _standing(self, number: int) -> Standing:
        standing = self.standings.get(number)
        if standing is None:
            raise UnknownAlarm(
                f"alarm {number} of this stream is unknown or long over; its last {REMEMBERED} "
                "can be acted on. GET /v2/alarms lists alarms."
            )
        return standing

    def _refusal(self, number: int, standing: Standing, act: str, silent: bool) -> str:
        """Why an act is not to be done; empty if it is."""
        if act == "acknowledge" and standing.acknowledged:
            return "it is acknowledged already."
        if act == "confirm" and not standing.acknowledged:
            return "acknowledge it first."
        if act == "confirm" and standing.confirmed:
            return "it is confirmed already."
        if act in ("shelve", "unshelve", "reset") and number != self.number:
            return f"only the stream's last alarm can be, number {self.number}."
        if act == "unshelve" and self.shelved_until is None:
            return "it is not shelved."
        if act == "reset" and not self.active:
            return "it is over already; nothing is latched."
        if act == "reset" and self.faulty and not silent:
            return "the process is still in alarm; it can be reset once that is over."
        return ""

    def _raise(self, time: int, reading: Reading, historical: bool) -> Event:
        self.number += 1
        self.active, self.announced = True, time
        self.standings[self.number] = Standing(time, historical=historical)
        for old in sorted(self.standings)[:-REMEMBERED]:
            del self.standings[old]
        return self._event("raised", time, reading, historical)

    def _clear(self, time: int, reading: Reading | None, historical: bool) -> list[Event]:
        self.active = False
        if standing := self.standings.get(self.number):
            standing.cleared = time
        events = [self._event("cleared", time, reading, historical)]
        if self.shelved_until == -1:
            events.append(self._unshelved(time, "the alarm has ended", historical))
        return events

    def _unshelved(self, time: int, why: str, historical: bool) -> Event:
        self.shelved_until = None
        return Event(self.number, "unshelved", time, None, historical, False, None, why)

    def _event(self, change: Change, time: int, reading: Reading | None, historical: bool) -> Event:
        shelved = self.shelved_until is not None
        return Event(self.number, change, time, reading, historical, shelved)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values; see `of_json`."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        said["standings"] = {
            str(number): {one.name: getattr(standing, one.name) for one in fields(standing)}
            for number, standing in self.standings.items()
        }
        return said

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> Alarm:
        """What `to_json` was taken of."""
        standings = {int(n): Standing(**one) for n, one in said["standings"].items()}
        return cls(**{**said, "standings": standings})
