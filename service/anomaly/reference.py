"""Scores of anomaly-free rows: what every later score is held against, and how they are stored."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import CalibrationError

Scores = NDArray[np.float64]


def reference(scores: NDArray[Any]) -> Scores:
    """Scores as a reference: ascending, and as exact as a graph gives them.

    Args:
        scores: any shape, of anomaly-free rows, higher = more anomalous.

    Returns:
        (n,) float64, each the value of a float32: graphs give these, and a score that is equal to
        one of the reference must be found equal.

    Raises:
        CalibrationError: there are none, or one is no finite number.
    """
    flat = np.asarray(scores, np.float64).reshape(-1)
    if not len(flat):
        raise CalibrationError(
            "calibration scores: got none, wanted those of anomaly-free rows. Collect some that "
            "the model was not trained on."
        )
    with np.errstate(over="ignore"):
        flat = flat.astype(np.float32).astype(np.float64)
    if not np.isfinite(flat).all():
        at = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise CalibrationError(
            f"calibration scores: got {flat[at]} at {at}, wanted finite numbers. Look at that row, "
            "and leave it out if it was not measured properly."
        )
    flat.sort()
    return flat


def to_npy(scores: Scores) -> bytes:
    """The asset: (n,) float64, little-endian, ascending, in NumPy's format."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(scores, "<f8"), allow_pickle=False)
    return file.getvalue()


def from_npy(content: bytes) -> Scores:
    """Read the asset.

    Raises:
        CalibrationError: it is not what `to_npy` writes.
    """
    try:
        # Not np.load, which takes archives and pickles for what they are by their first bytes.
        scores = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, OverflowError) as error:
        raise CalibrationError(f"calibration scores: no .npy file ({error}).") from None
    if scores.dtype != np.dtype("<f8") or scores.ndim != 1 or not len(scores):
        raise CalibrationError(
            f"calibration scores: got {scores.dtype} {scores.shape}, wanted float64 (n,)."
        )
    if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise CalibrationError("calibration scores: wanted finite numbers, ascending.")
    ascending: Scores = scores.astype(np.float64, copy=False)
    return ascending
