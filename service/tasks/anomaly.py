"""Anomalies: from a score to how rare it is, a verdict, and where it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.contribution import Outputs, moved
from service.anomaly.reference import from_npy
from service.anomaly.verdict import p_values
from service.errors import CalibrationError, CorruptModel, TensorMismatch
from service.manifest import Manifest
from service.store import StoredModel

NORMAL, ANOMALY = "normal", "anomaly"
#: Sensors or regions that an answer names, at most.
NAMED = 5
#: Regions along a side of a picture, at most, and pixels along a side of one, at least.
REGIONS, PIXELS = 16, 4


class AnomalyDetector:
    """The anomaly task of one model.

    Args:
        model: its graph gives `score` (n, 1), higher = more anomalous, and `error`, (n, H, W) for
            pictures or (n, T, C) for windows; its calibration says what is too high.

    Raises:
        CorruptModel: its calibration scores are none, or not as many as its manifest says.
    """

    __slots__ = ("_budget", "_calibration", "_limit", "_places", "_reference", "_verdicts")

    def __init__(self, model: StoredModel) -> None:
        calibration = model.manifest.calibration
        assert calibration is not None  # the manifest says so
        path = model.asset(calibration.scores)
        assert path is not None
        try:
            self._reference = from_npy(path.read_bytes())
        except CalibrationError as error:
            raise CorruptModel(f"{model.manifest.reference}: {error}") from None
        if len(self._reference) != calibration.n:
            raise CorruptModel(
                f"{model.manifest.reference}: got {len(self._reference)} calibration scores, but "
                f"the manifest says {calibration.n}. Release the model again."
            )
        self._calibration = calibration
        self._limit = np.float32(calibration.threshold)
        self._budget = calibration.budget.rate
        self._verdicts = np.array([NORMAL, ANOMALY], object)
        self._places = _Sensors(model.manifest) if _is_window(model.manifest) else _Regions()

    def answer(self, outputs: Outputs) -> dict[str, NDArray[Any]]:
        """Add the verdict to the graph's outputs.

        Args:
            outputs: the graph's outputs by name.

        Returns:
            The graph's outputs, then for each of n rows `p_value` (n,) FP64, the share of
            anomaly-free rows with so high a score; `verdict` (n,) BYTES, `anomaly` where the
            score is above `threshold` (n,) FP32, else `normal`; `budget` (n,) FP64, the rate of
            false alarms that the threshold is for; `contributors` (n, k) BYTES, the sensors, or
            the regions of the picture, with the largest errors, the largest first, and
            `contributions` (n, k) FP32, their shares of the row's error, in [0, 1]; of a graph
            that gives `shift`, the sensors that moved most, and shares of its squares.

        Raises:
            TensorMismatch: the score of a row is no number.
        """
        scores = outputs["score"].reshape(-1)
        above = scores > self._limit
        n = len(scores)
        if np.isnan(scores).any():
            row = int(np.isnan(scores).argmax())
            raise TensorMismatch(
                f"output 'score', row {row}: the model finds no number for this input, wanted one. "
                "Check the input's values: some are far outside what it was trained on."
            )
        contributors, contributions = self._places.largest(outputs)
        return {
            **outputs,
            "p_value": p_values(self._calibration, self._reference, scores),
            "verdict": self._verdicts[above.astype(np.intp)],
            "threshold": np.full(n, self._limit),
            "budget": np.full(n, self._budget),
            "contributors": contributors,
            "contributions": contributions,
        }


def _is_window(manifest: Manifest) -> bool:
    return manifest.images is None


class _Sensors:
    """Evidence of windows of C sensors."""

    def __init__(self, manifest: Manifest) -> None:
        window = manifest.inputs[0]
        names = window.features or [f"channel {at}" for at in range(window.shape[-1])]
        self._names = np.array(names, object)

    def largest(self, outputs: Outputs) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Names and shares (n, k) of the sensors that stand out most."""
        found = moved(outputs)
        return _largest(outputs["error"].sum(axis=1) if found is None else found, self._names)


class _Regions:
    """Errors of pictures (n, H, W), by the regions of a grid."""

    def __init__(self) -> None:
        self._grids: dict[tuple[int, int], tuple[Any, Any, NDArray[Any]]] = {}

    def largest(self, outputs: Outputs) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Names and shares (n, k) of the regions with the largest errors."""
        error = outputs["error"]
        height, width = error.shape[1:]
        grid = self._grids.get((height, width))
        if grid is None:
            grid = self._grids[height, width] = _grid(height, width)
        rows, columns, names = grid
        sums = np.add.reduceat(np.add.reduceat(error, rows, axis=1), columns, axis=2)
        return _largest(sums.reshape(len(error), -1), names)


def _grid(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
    """First rows and columns of the regions, and the regions' names, row by row."""
    ys, xs = _starts(height), _starts(width)
    names = [
        f"x {left}-{right - 1}, y {top}-{bottom - 1}"
        for top, bottom in zip(ys, [*ys[1:], height], strict=True)
        for left, right in zip(xs, [*xs[1:], width], strict=True)
    ]
    return np.array(ys, np.intp), np.array(xs, np.intp), np.array(names, object)


def _starts(extent: int) -> list[int]:
    count = max(1, min(REGIONS, extent // PIXELS))
    return [at * extent // count for at in range(count)]


def _largest(errors: NDArray[Any], names: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Names and shares (n, k) of the largest of errors (n, places), the largest first."""
    k = min(NAMED, errors.shape[1])
    if errors.shape[1] > 4 * k:  # so many need no order
        some = np.argpartition(-errors, k - 1, axis=1)[:, :k]
        some.sort(
            axis=1
        )  # in the order of the names, which the stable sort below keeps among equals
    else:
        some = np.broadcast_to(np.arange(errors.shape[1]), errors.shape)
    values = np.take_along_axis(errors, some, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(some, order, axis=1)
    total = errors.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.take_along_axis(errors, best, axis=1) / total
    return names[best], np.nan_to_num(shares, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
