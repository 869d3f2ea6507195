"""A loaded model as streams want it: what its windows are, and the scores of many at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.anomaly import usual
from service.anomaly.contribution import moved
from service.anomaly.reference import from_npy
from service.anomaly.stream import Subject
from service.calibration import Adaptive, EventBudget
from service.errors import InvalidRequest, StreamRefused
from service.inference.registry import LoadedModel
from service.manifest import Manifest
from service.store import StoredModel

#: Windows that run together, where that changes no score.
TOGETHER: Final = (64, 32, 16, 8, 4, 2, 1)
#: Windows by which that is found out.
PROBED: Final = 128
_log = logging.getLogger("glassline.streams")


def subject_of(model: StoredModel) -> Subject:
    """What a stream must know of a model.

    Raises:
        StreamRefused: it takes no windows of named sensors, or gives no score.
    """
    manifest = model.manifest
    window = manifest.inputs[0]
    if window.datatype != "FP32" or len(window.shape) != 3:
        _refuse(manifest, f"its input '{window.name}' is {window.datatype} of {window.shape}")
    names = window.features or ()
    if not names:
        _refuse(manifest, f"its input '{window.name}' has columns without names")
    if manifest.outputs[0].name != "score":
        _refuse(manifest, f"its first output is '{manifest.outputs[0].name}'")
    sequences = manifest.sequences
    steps = window.shape[1] if window.shape[1] > 0 else sequences.longest if sequences else 0
    if not 0 < steps <= 10_000:
        _refuse(manifest, f"its windows have no fixed length, got {steps} steps")
    calibration = manifest.calibration
    reference, adaptive, period = np.empty(0), Adaptive(), None
    if calibration is not None:
        path = model.asset(calibration.scores)
        assert path is not None  # the manifest says so
        reference = from_npy(path.read_bytes())
        adaptive = calibration.adaptive or adaptive
        if isinstance(calibration.budget, EventBudget):
            period = 3600 / calibration.budget.rows_per_hour
    path = model.asset(usual.ROLE)
    normal = None if path is None else usual.from_json(path.read_bytes(), names)
    fills = sequences is not None and sequences.gaps == "interpolate"
    return Subject(names, steps, fills, reference, adaptive, period, normal)


def _refuse(manifest: Manifest, got: str) -> None:
    raise StreamRefused(
        f"{manifest.reference}: cannot judge streams: {got}; wanted windows FP32 (rows, steps, "
        "sensors) with named sensors, and 'score' as the first output. Train one with `glassline "
        "train autoencoder`."
    )


class Scorer:
    """Scores windows of one model: each as if it were alone, bit for bit.

    What comes with a window hangs on the moment, and its score must not: else the same rows would
    give another alarm log the next time. In many graphs it does, in the last bit: of one row a
    product is another routine than of several, and a sum begins where memory is aligned. Whether
    it does in this one is measured here; if so, its windows run one by one.

    Args:
        model: loaded and warm.

    Raises:
        StreamRefused: see `subject_of`.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.subject = subject_of(model.stored)
        self._input = model.manifest.inputs[0].name
        self._range = model.manifest.inputs[0].range
        self._unit = model.manifest.inputs[0].unit or ""
        #: windows of one run, most first; the last is 1
        self.sizes: Sequence[int] = self._sizes()

    def score(
        self, windows: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scores (n,) of windows (T, C), and how much each sensor stands out in each, (n, C).

        Raises:
            InvalidRequest: the graph refuses these values.
        """
        return self._scored(windows, self.sizes)

    def _scored(
        self, windows: Sequence[NDArray[np.float32]], sizes: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        scores, shares = [], []
        for part in _parts(len(windows), sizes):
            rows = {self._input: np.stack(windows[part])}
            outputs = self.model.predict(self.model.admit(rows))
            scores.append(outputs["score"].reshape(-1).astype(np.float32))
            if (found := moved(outputs)) is not None:
                shares.append(found)
            elif "error" in outputs:
                shares.append(outputs["error"].mean(axis=1, dtype=np.float32))
        return np.concatenate(scores), np.concatenate(shares) if shares else None

    def _sizes(self) -> tuple[int, ...]:
        """Sizes of runs in which every window is scored as it is alone, wherever it stands."""
        shape = (PROBED, self.subject.steps, len(self.subject.sensors))
        windows = list(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        try:
            alone = _bits(self._scored(windows, (1,)))
            for size in TOGETHER[:-1]:
                if _bits(self._scored(windows, (size,))) != alone:
                    _log.info(
                        "%s scores windows one by one: of several together it makes other last "
                        "bits.", self.model.manifest.reference,
                    )  # fmt: skip
                    return (1,)
        except InvalidRequest:  # noise need not be what a graph takes
            return (1,)
        return TOGETHER

    def check_range(
        self, values: NDArray[np.float32], given: dict[str, tuple[float, float]], where: str
    ) -> None:
        """Refuse rows whose values cannot be what they are called: another unit, most likely.

        Args:
            values: (n, C) of rows.
            given: lowest and highest value by sensor, as the stream's settings have them.
            where: names the stream.

        Raises:
            StreamRefused: a value lies outside.
        """
        if self._range is None and not given:
            return
        for column, sensor in enumerate(self.subject.sensors):
            low, high = given.get(sensor, self._range or (-np.inf, np.inf))
            with np.errstate(invalid="ignore"):
                bad = np.flatnonzero((values[:, column] < low) | (values[:, column] > high))
            if len(bad):
                raise StreamRefused(
                    f"{where}: row {bad[0]}: {sensor}: got {values[bad[0], column]:g}, wanted "
                    f"{low:g} to {high:g} {self._unit}".rstrip()
                    + ". Was the unit of the sensor "
                    "changed? No row of this request was taken in."
                )


def _parts(count: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Runs of so many windows, each of one of these sizes, the largest first."""
    start = 0
    while start < count:
        size = next(size for size in sizes if size <= count - start)
        yield slice(start, start + size)
        start += size


def _bits(scored: tuple[NDArray[np.float32], NDArray[np.float32] | None]) -> list[bytes]:
    return [part.tobytes() for part in scored if part is not None]
