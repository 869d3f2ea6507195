"""The metrics of one model version, their labels bound once: what the hot path counts with."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge

from service import metrics, tracing
from service.tally import moment, observer


class ModelMetrics:
    """The metrics of one model version, their labels bound once.

    Args:
        model: a name that is in the store: labels stay bounded.
        version: its version.
    """

    __slots__ = (
        "_detection", "_explain", "_labels", "_last", "_load", "_predict", "_provider", "_r2",
        "_rows", "_samples", "postprocess", "preprocess", "queued", "waiting",
    )  # fmt: skip

    def __init__(self, model: str, version: str) -> None:
        self._labels = (model, version)
        self._provider: Gauge | None = None
        #: seconds to decode a request body
        self.preprocess = tracing.stage(
            "decode", observer(metrics.PREPROCESS.labels(model, version))
        )
        #: seconds that a request waited before its batch ran
        self.queued = observer(metrics.QUEUE.labels(model, version))
        #: seconds to encode an answer
        self.postprocess = tracing.stage(
            "encode", observer(metrics.POSTPROCESS.labels(model, version))
        )
        self._predict = tracing.stage("infer", observer(metrics.PREDICT.labels(model, version)))
        self._rows = tracing.rows(observer(metrics.BATCH_ROWS.labels(model, version)))
        self._last = moment(metrics.LAST_INFERENCE.labels(model, version))
        #: gauge of requests in this model's queue
        self.waiting = metrics.REQUESTS_WAITING.labels(model, version)
        self._explain = metrics.EXPLAIN.labels(model, version)
        self._samples = metrics.EXPLANATION_SAMPLES.labels(model, version)
        self._r2 = metrics.EXPLANATION_R2.labels(model, version)
        self._load = metrics.MODEL_LOAD.labels(model, version)
        self._detection: DetectionMetrics | None = None

    def loaded(self, seconds: float, provider: str | None, fallback: str = "") -> None:
        """The model was loaded; `provider` is None if it is not served, `fallback` why on a CPU."""
        self._load.observe(seconds)
        if fallback:
            metrics.DEVICE_FALLBACKS.labels(*self._labels).inc()
        if provider is not None:
            self._provider = metrics.MODEL_PROVIDER.labels(*self._labels, provider)
            self._provider.set(1)

    def unloaded(self) -> None:
        """The model is served by this process no more."""
        if self._provider is not None:
            self._provider.set(0)

    def predict(self, seconds: float, rows: int) -> None:
        """The graph ran once on so many rows."""
        self._predict(seconds)
        self._rows(rows)
        self._last.seconds = time.time()

    def judged(self, answer: Mapping[str, NDArray[Any]]) -> None:
        """A detector answered; see `DetectionMetrics.judged`."""
        if self._detection is None:  # other models have no such series
            self._detection = DetectionMetrics(*self._labels)
        self._detection.judged(answer)

    def acted(self, safe: NDArray[np.bool_]) -> None:
        """A policy acted; `safe` (n,) says where it took its safe default."""
        if safe.any():  # seldom, so that other policies need no such series
            metrics.SAFE_DEFAULTS.labels(*self._labels).inc(int(safe.sum()))

    def late(self) -> None:
        """An answer was not there in the model's latency budget."""
        metrics.DEADLINES.labels(*self._labels).inc()

    def explained(self, seconds: float, samples: int, r2: Sequence[float]) -> None:
        """An explanation was made from so many samples, with an R² for each label."""
        self._explain.observe(seconds)
        self._samples.observe(samples)
        for value in r2:
            self._r2.observe(value)


class DetectionMetrics:
    """What a detector said, row by row.

    Args:
        model: a name that is in the store: labels stay bounded.
        version: its version.
    """

    __slots__ = ("_anomalies", "_normal", "_p_value", "_ratio")

    def __init__(self, model: str, version: str) -> None:
        self._anomalies = metrics.VERDICTS.labels(model, version, "anomaly")
        self._normal = metrics.VERDICTS.labels(model, version, "normal")
        self._p_value = observer(metrics.P_VALUE.labels(model, version))
        self._ratio = observer(metrics.SCORE_OVER_THRESHOLD.labels(model, version))

    def judged(self, answer: Mapping[str, NDArray[Any]]) -> None:
        """Count verdicts, p-values, and scores over the threshold, where both are above 0.

        Args:
            answer: `verdict`, `p_value` and `threshold` (n,), `score` (n, 1).
        """
        anomalies = int((answer["verdict"] == "anomaly").sum())
        self._anomalies.inc(anomalies)
        self._normal.inc(len(answer["verdict"]) - anomalies)
        for p_value in answer["p_value"].tolist():
            self._p_value(p_value)
        threshold = float(answer["threshold"][0])
        if threshold <= 0:
            return
        for score in answer["score"].reshape(-1).tolist():
            if 0 <= score < math.inf:
                self._ratio(score / threshold)
