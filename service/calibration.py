"""How a manifest says when a score is an anomaly, and how often that may be wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.media import Part
from service.tensors import Sha256


class RateBudget(Part):
    """Share of the anomaly-free rows that may be called anomalies."""

    kind: Literal["rate"] = "rate"
    rate: float = Field(gt=0, lt=1)

    def __str__(self) -> str:
        return f"{100 * self.rate:g} % of the anomaly-free rows"


class EventBudget(Part):
    """Alarms an hour that may be false, where so many rows come in an hour.

    An alarm event is one row or several that follow each other, so that there are never more
    events than rows called anomalies: the rate of rows holds the rate of events.
    """

    kind: Literal["events_per_hour"] = "events_per_hour"
    events_per_hour: float = Field(gt=0)
    rows_per_hour: float = Field(gt=0)

    @model_validator(mode="after")
    def _less_than_all(self) -> EventBudget:
        if self.events_per_hour >= self.rows_per_hour:
            raise ValueError(
                f"got {self.events_per_hour:g} alarms an hour of {self.rows_per_hour:g} rows an "
                "hour, wanted fewer alarms than rows"
            )
        return self

    @property
    def rate(self) -> float:
        """Share of the anomaly-free rows that may be called anomalies, in (0, 1)."""
        return self.events_per_hour / self.rows_per_hour

    def __str__(self) -> str:
        return f"{self.events_per_hour:g} an hour of {self.rows_per_hour:g} rows an hour"


Budget = Annotated[RateBudget | EventBudget, Field(discriminator="kind")]


class Adaptive(Part):
    """How the judge of a stream follows scores that drift; see `anomaly.adaptive`.

    Rows of one request are in no order and are judged at the threshold, whatever stands here.
    """

    #: step of the adaptation; larger ones follow faster and waver more
    gamma: float = Field(default=0.005, gt=0, lt=1)
    #: scores that the p-value is taken from: the last so many
    buffer: int = Field(default=1000, ge=10)
    #: the level of the test is never more than so many times the budget's rate
    cap: float = Field(default=10.0, ge=1)


class Tail(Part):
    """A generalised Pareto distribution of the scores above `start`; see `anomaly.evt`.

    A share `above` of the anomaly-free scores exceeds `start`; how far beyond it is as
    (1 + shape * excess / scale) ** (-1 / shape) says.
    """

    start: float
    scale: float = Field(gt=0)
    shape: float
    above: float = Field(gt=0, lt=1)


class Calibration(Part):
    """When a score is an anomaly.

    `n` scores of anomaly-free rows that training never saw stand in the asset of the role
    `scores`. A row is an anomaly if its score is above `threshold`.

    `conformal` holds the budget: rows that are exchangeable with those of the calibration exceed
    the threshold with the budget's rate at most, on average over calibrations. This one
    calibration realises a rate that is within `realised` in nine cases of ten, the wider the
    fewer the rows. `evt` goes beyond the largest scores by a fitted tail: an order of magnitude,
    no guarantee, and `realised` is missing.
    """

    method: Literal["conformal", "evt"] = "conformal"
    budget: Budget
    n: int = Field(gt=0)
    threshold: float
    realised: tuple[float, float] | None = None
    tail: Tail | None = None
    adaptive: Adaptive | None = None
    #: `name@version` that this one has the graph of, where only the calibration is another
    recalibrates: str | None = None
    scores: str = "calibration"

    def told(self) -> str:
        """What a model card says of it, as a line of Markdown."""
        said = f"- false alarms: {self.budget} allowed; an anomaly is a score above "
        said += f"{self.threshold:.6g}, calibrated on {self.n} anomaly-free rows"
        if self.realised is None:
            return f"{said} by a fitted tail: an order of magnitude, no guarantee"
        low, high = (100 * end for end in self.realised)
        return (
            f"{said}: of rows like those, {low:.3g} to {high:.3g} % are called anomalies in nine "
            "calibrations of ten. Where the process drifts this no longer holds; calibrate again"
        )

    @model_validator(mode="after")
    def _method_has_its_parts(self) -> Calibration:
        if (self.method == "evt") != (self.tail is not None):
            raise ValueError("a tail belongs to the method 'evt' alone, which has one")
        if (self.method == "conformal") != (self.realised is not None):
            raise ValueError("a realised range belongs to the method 'conformal' alone")
        return self


class Gallery(Part):
    """Vectors of earlier inputs, that new ones are compared with; see `inference.gallery`.

    `vectors` and `ids` are roles of assets: (count, dimension) float32 as .npy, and a JSON list
    of as many texts. They were computed by the graph of digest `graph`, and mean nothing to
    another.
    """

    output: str
    metric: Literal["euclidean", "cosine"] = "euclidean"
    count: int = Field(gt=0)
    dimension: int = Field(gt=0)
    graph: Sha256
    #: whether the ids are those of records, so that an answer can lead there
    records: bool = False
    vectors: str = "gallery"
    ids: str = "gallery-ids"
    #: role of the index that is asked where there are too many to look at each
    index: str | None = None
