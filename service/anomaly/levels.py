"""The level that a stream's scores are held against: warm-up, then an adaptive budget.

Rows of a run that may become an alarm are held back: they change nothing while it is open. If it
becomes an alarm they are forgotten with it, for a fault must not become normal; if not, they were
false and count.

A budget of events is kept in a purse (`purse.py`): a debt lowers the level. Once the level is below
1 / (n + 1), the smallest p-value that n scores can give, no row can exceed: beside those that
people call true there are never more alarms than
`budget * hours + saved + 1 + ln(level * (n + 1)) / caution`, whatever the process does. The price
is a stream that is less sensitive for a while after more alarms than were saved for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.anomaly.adaptive import AdaptiveConformal, Judgement
from service.anomaly.conformal import fewest_rows
from service.anomaly.purse import Purse
from service.anomaly.stream_config import StreamConfig
from service.calibration import Adaptive

#: The level is never more than so many times the rate: quiet hours must not save up alarms.
MOST: Final = 2.0


@dataclass(slots=True)
class Levels:
    """Calibration of one stream.

    Attributes:
        wanted: rows of warm-up; -1 = not known yet, for the period is not.
        warm: scores of the warm-up so far.
        judge: of the scores after it.
        held: scores of the run that may become an alarm.
        average: moving average of the scores.
        base: their slow mean, which is taken off them where a stream follows drift.
        seen: rows in it.
        purse: of the budget of events.
    """

    wanted: int = -1
    warm: list[float] = field(default_factory=list)
    judge: AdaptiveConformal | None = None
    held: list[float] = field(default_factory=list)
    average: float | None = None
    base: float = 0.0
    seen: int = 0
    purse: Purse = field(default_factory=Purse)

    @property
    def ready(self) -> bool:
        """Whether the warm-up is over."""
        return self.judge is not None

    def smoothed(self, score: float, weight: float) -> float:
        """The moving average with this score in it."""
        before = self.average
        self.average = score if before is None else before + weight * (score - before)
        return self.average

    def relative(self, score: float, config: StreamConfig) -> float:
        """What is judged: the average, or how far it lies above the slow mean.

        The difference, not the multiple: a score that is put together of several is a mean of
        logarithms, of which 0 is usual, and a difference of those is a multiple already.
        """
        average = self.smoothed(score, config.smoothing)
        if config.follow_s is None:
            return average
        if not self.seen:
            self.base = average
        return average - self.base

    def follow(self, config: StreamConfig, period_s: float) -> None:
        """The slow mean takes the newest average in; not while an alarm is on or may come."""
        if config.follow_s is not None and self.average is not None:
            self.seen += 1
            weight = 1 / min(max(1.0, config.follow_s / period_s), self.seen)
            self.base += weight * (self.average - self.base)

    def interrupt(self) -> None:
        """Rows are missing: the average begins anew, and the open run ends."""
        self.average = None
        self.release()

    def begin(
        self,
        config: StreamConfig,
        period_s: float,
        reference: NDArray[np.float64],
        adaptive: Adaptive,
    ) -> bool:
        """Calibrate, once there are scores enough; whether there are.

        Args:
            config: of the stream.
            period_s: seconds between rows.
            reference: (n,) ascending, the model's own; may be empty.
            adaptive: the model's settings of the adaptation.
        """
        if self.judge is not None:
            return True
        rate = config.row_rate(period_s)
        alone = config.own_reference or config.follow_s is not None
        given = np.empty(0) if alone else reference
        if self.wanted < 0:
            self.wanted = max(config.warm_up_rows, fewest_rows(rate) - len(given))
        if len(self.warm) < self.wanted:
            return False
        scores = np.sort(np.concatenate([given, self.warm]))
        settings = _settings(config, period_s, adaptive, len(self.warm))
        self.judge = AdaptiveConformal(scores, rate, settings)
        self.warm = []
        return True

    def retune(self, config: StreamConfig, period_s: float, adaptive: Adaptive) -> None:
        """Hold scores against the budget of other settings; see `begin`.

        Raises:
            CalibrationError: there are too few scores for it.
        """
        if self.judge is None:
            self.wanted = -1
        elif (rate := config.row_rate(period_s)) != self.judge.rate:
            settings = _settings(config, period_s, adaptive, self.judge.buffer)
            self.judge = self.judge.retuned(rate, settings)

    def learn(self, score: float) -> None:
        """One score of the warm-up, of a row that is taken to be anomaly-free."""
        self.warm.append(score)

    def look(self, score: float, config: StreamConfig) -> Judgement:
        """What is to be said of a score at the level that the purse leaves; nothing is learnt."""
        assert self.judge is not None
        said = self.judge.judge(score, True)
        lowered = self.purse.lowered(config)
        if lowered == 1:
            return said
        alpha = said.alpha * lowered
        return Judgement(said.p_value, alpha, said.p_value <= alpha)

    def hold(self, score: float) -> None:
        """It exceeds, and may become an alarm."""
        self.held.append(score)

    def forget(self) -> None:
        """The run has become an alarm: nothing is learnt from it."""
        self.held.clear()

    def settle(self, score: float) -> None:
        """A row like any other, and the run before it was none: learn from them."""
        self.release()
        assert self.judge is not None
        self.judge.judge(score)

    def release(self) -> None:
        """The run has become no alarm: learn from it."""
        if self.held:
            assert self.judge is not None
            for score in self.held:
                self.judge.judge(score)
            self.held.clear()

    def to_json(self) -> dict[str, Any]:
        """All of it but the judge, as JSON values."""
        return {
            "wanted": self.wanted, "warm": self.warm, "held": self.held, "average": self.average,
            "base": self.base, "seen": self.seen, "purse": self.purse.to_json(),
        }  # fmt: skip


def _settings(config: StreamConfig, period_s: float, adaptive: Adaptive, kept: int) -> Adaptive:
    """How the judge adapts: the model's way, within what the budget needs and allows."""
    return Adaptive(
        gamma=config.adaptive_gamma(adaptive.gamma, period_s),
        buffer=max(adaptive.buffer, 2 * fewest_rows(config.row_rate(period_s)), kept),
        cap=min(adaptive.cap, MOST),
    )
