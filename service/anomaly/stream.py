"""One stream: rows of one group of sensors go in, verdicts and alarm events come out.

It has no clock, no model and no disk. Rows are staged, somebody scores their windows, and what was
staged is concluded with the scores: until then nothing has changed, so that a model that fails
loses no row. The same rows and scores in the same order give the same bits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.alarms import Alarm, Change, Event, Reading
from service.anomaly.drift import Drift
from service.anomaly.drift_advice import evidence_of
from service.anomaly.feedback import Feedback, Verdict
from service.anomaly.levels import Levels
from service.anomaly.purse import Purse
from service.anomaly.staged import Row, Staged, answer_to
from service.anomaly.stream_config import StreamConfig
from service.anomaly.subject import Counts, StreamKey, Subject
from service.anomaly.times import SECOND, rfc3339
from service.anomaly.track import SPARE, Outcome, Track
from service.errors import Conflict

#: Seconds without a row after which nobody knows whether an alarm is still on.
SILENT_S = 60
_WARMING_UP = Outcome("warming-up")


@dataclass(slots=True)
class Stream:
    """The state of one stream.

    Attributes:
        key: what it belongs to.
        subject: of its model.
        config: its settings.
    """

    key: StreamKey
    subject: Subject
    config: StreamConfig
    track: Track
    levels: Levels = field(default_factory=Levels)
    alarm: Alarm = field(default_factory=Alarm)
    counts: Counts = field(default_factory=Counts)
    #: whether the last row was a historical one
    in_history: bool = False
    feedback: Feedback = field(default_factory=Feedback)
    #: None = nobody looks for it
    drift: Drift | None = None

    @classmethod
    def begin(cls, key: StreamKey, subject: Subject, config: StreamConfig) -> Stream:
        """A stream without a row."""
        period = config.period_s or subject.period_s or 0
        track = Track.empty(
            subject.steps, len(subject.sensors), int(period * SECOND), config.gap_periods
        )
        drift = None
        if config.drift_rows:
            drift = Drift.begin(
                subject.sensors, config.drift_rows, config.drift_spreads, subject.usual
            )
        levels = Levels(purse=Purse.begin(config.saved_events))
        return cls(key, subject, config, track, levels, drift=drift)

    def stage(
        self, times: Sequence[int], values: NDArray[np.float32], historical: bool = False
    ) -> Staged:
        """Place rows, in the order in which they came; the stream does not change.

        Args:
            times: of the rows, microseconds since 1970.
            values: (n, C), NaN = not measured.
            historical: whether nobody is to be alarmed by them.

        Raises:
            Conflict: a row differs from the one that came at its time.
        """
        usual = self.track.propose(times, values)
        if usual is not None:
            return self._staged_usual(times, values, historical, usual)
        track = self.track.copy(len(times))
        staged = Staged(times, values, historical, track, [], [])
        lateness = int(self.config.lateness_s * SECOND)
        fills, learnt = self.subject.fills, bool(track.period)
        missing = np.isnan(values) @ (1 << np.arange(values.shape[1], dtype=np.int64))
        for at, (time, absent) in enumerate(zip(times, missing.tolist(), strict=True)):
            row = values[at]
            place = track.place(time, row, lateness)
            if place == "newest":
                gap = track.append(time, row)
                learnt = learnt or track.learn_period(self.config.gap_periods)
                window = track.window(fills) if learnt else None
                said = None
                if window is None:
                    broken = learnt and track.run >= track.steps
                    said = Outcome("incomplete" if broken else "warming-up")
                else:
                    staged.windows.append(window)
                number = -1 if window is None else len(staged.windows) - 1
                staged.rows.append(Row(time, number, gap, absent, said))
            elif place == "filled-in":
                track.insert(time, row)
                staged.rows.append(Row(time, -1, 0, absent, Outcome("filled-in")))
            elif place == "duplicate":
                staged.duplicates += 1
                staged.rows.append(Row(time, -1, 0, absent, Outcome("duplicate")))
            elif place == "late":
                staged.late += 1
                staged.rows.append(Row(time, -1, 0, absent, Outcome("late")))
            else:
                raise Conflict(
                    f"stream '{self.key.stream}': row {at} at {rfc3339(time)} differs from the one "
                    "that came at that time. A row is never replaced: send the next with its own "
                    "time, and where two senders use this name, give each a stream of its own."
                )
        return staged

    def _staged_usual(
        self,
        times: Sequence[int],
        values: NDArray[np.float32],
        historical: bool,
        placed: list[tuple[int, NDArray[np.float32] | None]],
    ) -> Staged:
        staged = Staged(times, values, historical, None, [], [])
        for time, (gap, window) in zip(times, placed, strict=True):
            if window is None:
                staged.rows.append(Row(time, -1, gap, 0, _WARMING_UP))
            else:
                staged.rows.append(Row(time, len(staged.windows), gap, 0, None))
                staged.windows.append(window)
        return staged

    def conclude(
        self,
        staged: Staged,
        scores: NDArray[np.float32],
        shares: NDArray[np.float32] | None,
    ) -> tuple[list[dict[str, Any]], list[Event]]:
        """Judge what was staged.

        Args:
            staged: by this stream, and nothing since.
            scores: (k,) of its windows, finite.
            shares: (k, C) of each sensor in the error of each window; None where the model tells
                of no errors.

        Returns:
            An answer for each row, and the alarm events in the order in which they happened.
        """
        answers, events = [], self._left_history(staged)
        if usual := staged.track is None:
            self.track.accept(staged.times, [row.gap for row in staged.rows])
        else:
            self.track = staged.track
        marks = self.track
        for at, row in enumerate(staged.rows):
            said = row.said
            if row.gap:
                self.counts.gaps += 1
                self.alarm.interrupt()
                self.levels.interrupt()
            if row.window >= 0:
                share = None if shares is None else shares[row.window]
                said, changed = self._judge(
                    row, float(scores[row.window]), share, staged.historical
                )
                events += changed
                events += self._watched(
                    row.time, staged.values[at], float(scores[row.window]), staged.historical
                )
            assert said is not None
            repeated = said.state == "duplicate"
            if usual:
                marks.outcomes.append(tuple(said))
            elif repeated:
                said = Outcome(*marks.outcomes[bisect_left(marks.times, row.time)])
            elif said.state == "filled-in":
                self.counts.filled_in += 1
            elif said.state != "late":
                marks.outcomes[bisect_left(marks.times, row.time)] = tuple(said)
            answers.append(answer_to(row, said, repeated, self.subject.sensors))
        self.counts.rows += len(staged.rows) - staged.duplicates - staged.late
        self.counts.duplicates += staged.duplicates
        self.counts.late += staged.late
        if len(marks.times) > 2 * (marks.steps + SPARE):
            marks.trim()
        return answers, events

    def _left_history(self, staged: Staged) -> list[Event]:
        before, self.in_history = self.in_history, staged.historical
        if before and not staged.historical:
            self.levels.interrupt()
            return self.alarm.leave_history(self.track.newest or 0)
        return []

    def _judge(
        self, row: Row, score: float, share: NDArray[np.float32] | None, historical: bool
    ) -> tuple[Outcome, list[Event]]:
        config, levels, alarm = self.config, self.levels, self.alarm
        period = self.track.period
        period_s = period / SECOND
        self.counts.scored += 1
        score = levels.relative(score, config)
        about = self.subject
        if not levels.begin(config, period_s, about.reference, about.adaptive):
            levels.learn(score)
            levels.follow(config, period_s)
            return Outcome("warming-up", score), []
        self.counts.observed += period
        levels.purse.pay(config, period_s)
        p_value, alpha, over = levels.look(score, config)
        faulty = alarm.faulty
        exceeding = p_value <= alarm.staying(alpha, config.deadband) if faulty else over
        reading = Reading(score, p_value, alpha)
        if exceeding and share is not None:
            reading = reading._replace(contributors=about.contributors(share))
        events = alarm.step(config, row.time, exceeding, reading, historical)
        self._learn(row.time, score, exceeding, period_s)
        if any(event.change == "raised" for event in events):
            levels.purse.take(alarm.number, self.counts.observed, config)
            self.counts.live_alarms += not historical
        state = "active" if alarm.active else "pending" if exceeding else "normal"
        verdict = "anomaly" if over else "normal"
        return Outcome(state, score, p_value, alpha, verdict), events

    def _watched(
        self, time: int, values: NDArray[np.float32], score: float, historical: bool
    ) -> list[Event]:
        """What a row says of drift; rows of an alarm say nothing of it."""
        if self.drift is None or self.alarm.faulty:
            return []
        found = self.drift.add(time, values, score)
        if found is None:
            return []
        change: Change = "drift-begun" if found.change == "begun" else "drift-ended"
        evidence = evidence_of(found.signals, len(self.subject.sensors))
        return [Event(0, change, time, None, historical, evidence=evidence)]

    def act(
        self, number: int, act: str, time: int, by: str, comment: str | None, until: int | None
    ) -> Event:
        """What an operator does to an alarm; see `Alarm.act`.

        An alarm whose rows have stopped would never end by itself: a line that was taken down, or
        that a later version of the model took over.
        """
        newest = self.track.newest
        silent = newest is None or time - newest > max(SILENT_S * SECOND, self.track.gap)
        return self.alarm.act(number, act, time, by, comment, until, silent=silent)

    def say(
        self, number: int, verdict: Verdict, time: int, by: str, comment: str | None
    ) -> tuple[Event, dict[str, str]]:
        """Somebody says whether an alarm was a true one; what follows, in words.

        Raises:
            UnknownAlarm: there is none of this number, or it is long over.
        """
        event = self.alarm.judged(number, verdict, time, by, comment)
        calibration, now = self.feedback.say(number, verdict), self.counts.observed
        returned, budget = self.levels.purse.say(number, verdict == "true", now, self.config)
        event = event._replace(returned=returned or None)
        return event, {"calibration": calibration, "budget": budget}

    def rebase(self, time: int, by: str, comment: str | None) -> Event:
        """Somebody says that what is now is right: drift is told from here on.

        Raises:
            Conflict: nobody looks for drift in this stream.
        """
        if self.drift is None:
            raise Conflict(
                f"stream '{self.key.stream}': its setting drift_rows is 0, so that nobody looks "
                "for drift."
            )
        self.drift.rebase()
        return Event(0, "drift-rebased", time, None, False, False, by, comment)

    def _learn(self, time: int, score: float, exceeding: bool, period_s: float) -> None:
        levels, alarm = self.levels, self.alarm
        if alarm.faulty:
            levels.forget()
            self.feedback.note(alarm.number, score)
            began = alarm.standings[alarm.number].raised if alarm.standings else time
            if time - began >= self.config.longest_freeze_s * SECOND:
                levels.settle(score)
                levels.follow(self.config, period_s)
        elif exceeding:
            levels.hold(score)
        else:
            levels.settle(score)
            levels.follow(self.config, period_s)
            if self.feedback.waiting and levels.judge is not None and not alarm.active:
                for taught in self.feedback.due(self.counts.scored, levels.judge.buffer):
                    levels.judge.learn(taught)


__all__ = ["Counts", "Staged", "Stream", "StreamKey", "Subject"]
