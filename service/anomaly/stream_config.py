"""What is set for one stream: its budget, how it takes rows, how its alarm behaves."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter


class StreamConfig(BaseModel):
    """Settings of a stream; the field descriptions are the documentation.

    The names of the alarm's settings are those of OPC UA Part 9 (AlarmConditionType).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    events_per_hour: float | None = Field(
        None, gt=0, le=3600, description="Budget: alarm events an hour; 1 if no rate is given."
    )
    rate: float | None = Field(
        None, gt=0, lt=0.5,
        description="Share of rows that may exceed; alone a budget, else what alarms begin with.",
    )  # fmt: skip
    caution: float = Field(
        5.0, ge=0, le=20,
        description="Each alarm beyond the budget lowers the level by a factor of e to this.",
    )  # fmt: skip
    saved_events: float = Field(
        1.0, ge=0, le=24,
        description="Events of the budget that a stream begins with and quiet hours may save.",
    )  # fmt: skip
    period_s: float | None = Field(
        None, gt=0, le=86_400, description="Seconds between rows; else the first rows tell."
    )
    gap_periods: float = Field(
        5.0, ge=1, le=10_000, description="A longer step, in periods, is a gap."
    )
    lateness_s: float = Field(
        10.0, ge=0, le=86_400, description="So much older than the newest row may a row come."
    )
    warm_up_rows: int = Field(
        300, ge=0, le=100_000, description="Rows whose scores calibrate, and raise no alarm."
    )
    own_reference: bool = Field(
        False, description="Calibrate on the warm-up alone, and not on the model's scores too."
    )
    follow_s: float | None = Field(
        None, gt=0, le=86_400,
        description="Judge scores less their own mean over so long: follows drift.",
    )  # fmt: skip
    smoothing: float = Field(
        1.0, gt=0, le=1, description="Weight of the newest score in a moving average; 1 = none."
    )
    on_delay_s: float = Field(
        5.0, ge=0, le=86_400, description="Seconds that rows must exceed before an alarm."
    )
    off_delay_s: float = Field(
        10.0, ge=0, le=86_400, description="Seconds that rows must be quiet before it ends."
    )
    deadband: float = Field(
        0.5, ge=0, le=100,
        description="During an alarm a row is quiet above the level times 1 + deadband.",
    )  # fmt: skip
    re_alarm_s: float | None = Field(
        None, gt=0, description="Seconds after which an alarm that lasts is announced again."
    )
    latch: bool = Field(False, description="An alarm stays until somebody resets it.")
    longest_freeze_s: float = Field(
        3600.0, gt=0,
        description="Seconds into an alarm after which calibration learns again, so that a "
        "process that has changed for good is not in alarm for ever.",
    )  # fmt: skip
    drift_rows: int = Field(
        60, ge=0, le=100_000, description="Rows that are averaged to look for drift; 0 = never."
    )
    drift_spreads: float = Field(
        1.0, gt=0, le=100,
        description="So many spreads from its reference has a signal drifted.",
    )  # fmt: skip
    ranges: dict[str, tuple[float, float]] = Field(
        {}, description="Lowest and highest value by sensor; rows beyond are refused."
    )

    @classmethod
    def parse(cls, values: Any, where: str) -> StreamConfig:
        """The settings in a JSON object.

        Raises:
            InvalidParameter: one is unknown or out of range; the message names each.
        """
        if not isinstance(values, dict):
            raise InvalidParameter(f"{where}: settings: wanted a JSON object, got {values!r:.40}.")
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(str(p) for p in e['loc']) or 'settings'}: {e['msg']}, "
                f"got {e['input']!r:.60}"
                for e in error.errors()
            )
            raise InvalidParameter(
                f"{where}: {said}. GET /docs lists every setting of a stream."
            ) from None
        for sensor, (low, high) in config.ranges.items():
            if low > high:
                raise InvalidParameter(
                    f"{where}: ranges.{sensor}: got {low:g} to {high:g}, wanted the lowest value "
                    "first. No row would ever fit."
                )
        return config

    def row_rate(self, period_s: float) -> float:
        """Share of the rows that may exceed, in (0, 0.5).

        An event needs every row of the on-delay to exceed: where `k` rows make up the delay,
        a share of `k * events / rows` of exceeding rows cannot make more events than the budget.

        Args:
            period_s: seconds between rows.
        """
        if self.rate is not None:
            return self.rate
        in_a_row = 1 + int(self.on_delay_s / period_s)
        return min(0.25, in_a_row * (self.events or 1.0) * period_s / 3600)

    @property
    def events(self) -> float | None:
        """Alarm events an hour that are allowed; None where the budget is a rate of rows alone."""
        if self.events_per_hour is None and self.rate is None:
            return 1.0
        return self.events_per_hour

    def adaptive_gamma(self, gamma: float, period_s: float) -> float:
        """Step of the adaptation: at most a fifth of the rate.

        A step as large as the level itself would leave a stream blind for a long time after one
        false exceedance, which is no way to keep a budget of alarms on rare rows.
        """
        return min(gamma, self.row_rate(period_s) / 5)
