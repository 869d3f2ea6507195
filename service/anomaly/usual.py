"""What is usual of a detector's signals where nothing is wrong: drift is measured against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from service.anomaly.drift_advice import SCORE
from service.errors import CalibrationError

#: Role of the asset, and its file.
ROLE, FILE = "spreads", "spreads.json"


def measured(windows: NDArray[np.float32], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and spread of each sensor and of the score.

    Args:
        windows: (n, T, C) without an anomaly; NaN = not measured.
        scores: (n,) of them.

    Returns:
        (2, C + 1), the score last.
    """
    rows = windows.reshape(-1, windows.shape[-1]).astype(np.float64)
    means = np.append(np.nanmean(rows, axis=0), scores.mean())
    spreads = np.append(np.nanstd(rows, axis=0), scores.std())
    return np.stack([means, sound(spreads, means)])


def sound(spread: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sensor that never moved has no spread: any step of it would be infinitely far."""
    least = np.maximum(np.abs(mean) * 1e-3, 1e-9)
    return np.maximum(spread, least)


def to_json(sensors: Sequence[str], usual: NDArray[np.float64]) -> bytes:
    """The asset."""
    return orjson.dumps(
        {"signals": [*sensors, SCORE], "mean": usual[0].tolist(), "spread": usual[1].tolist()}
    )


def from_json(content: bytes, sensors: Sequence[str]) -> NDArray[np.float64]:
    """Read the asset; (2, C + 1).

    Raises:
        CalibrationError: it is not what `to_json` writes for these sensors.
    """
    try:
        said = orjson.loads(content)
        usual = np.array([said["mean"], said["spread"]], np.float64)
        fits = said["signals"] == [*sensors, SCORE] and usual.shape == (2, len(sensors) + 1)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"usual values of sensors: cannot be read ({error}).") from None
    if not fits or not np.isfinite(usual).all() or (usual[1] <= 0).any():
        raise CalibrationError(
            f"usual values of sensors: wanted means and spreads of {', '.join(sensors)} and of the "
            "score. Release the model again."
        )
    return usual
