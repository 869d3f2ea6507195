"""The false-alarm budget of a detector, calibrated on rows that training never saw.

Scores come from the exported graph, the very file that is served: no other is told apart by the
threshold. The pieces are the service's own (`service/anomaly/`), so that a later `glassline
models recalibrate` finds the same on the same scores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from service.anomaly import usual
from service.anomaly.reference import reference, to_npy
from service.anomaly.verdict import calibrated
from service.errors import CalibrationError, ReleaseRefused
from service.manifest import Calibration
from training.candidate import AnomalyFree, Candidate, rows_of, some_rows

#: File of the asset, by its role.
FILE = "calibration.npy"
#: Rows that go through the graph together.
BATCH = 64


def calibrate(candidate: Candidate, graph: Path) -> tuple[Candidate, Calibration | None]:
    """The candidate with its calibration scores among the assets, and the calibration.

    Args:
        candidate: as it asked to be released.
        graph: the ONNX file as it will be served.

    Returns:
        The candidate as it is, and None, where it finds no anomalies.

    Raises:
        ReleaseRefused: the rows are too few for the budget (the message says how many it takes),
            or a score is no finite number.
    """
    asked = candidate.anomaly_free
    if asked is None:
        return candidate, None
    try:
        scores = reference(_scores(asked, graph))
        found = calibrated(scores, asked.budget, asked.method, asked.adaptive)
    except CalibrationError as error:
        raise ReleaseRefused(f"{candidate.name}: {error} Nothing was stored.") from None
    assets = {
        **candidate.assets, found.scores: (FILE, to_npy(scores)), **_usual(candidate, scores)
    }  # fmt: skip
    return replace(candidate, assets=assets), found


def _usual(candidate: Candidate, scores: np.ndarray) -> dict[str, tuple[str, bytes]]:
    """Means and spreads of a window's sensors on these rows, which drift is measured against."""
    asked, window = candidate.anomaly_free, candidate.inputs[0]
    if asked is None or len(window.shape) != 3 or not window.features:
        return {}
    rows = [np.asarray(block[window.name]) for block in asked.blocks]
    values = np.concatenate([one.reshape(-1, 1, one.shape[-1]) for one in rows])
    found = usual.measured(values, scores)
    return {usual.ROLE: (usual.FILE, usual.to_json(window.features, found))}


def _scores(asked: AnomalyFree, graph: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    scores = [
        session.run(["score"], some_rows(block, slice(start, start + BATCH)))[0]
        for block in asked.blocks
        for start in range(0, rows_of(block), BATCH)
    ]
    return np.concatenate([np.asarray(part).reshape(-1) for part in scores])
