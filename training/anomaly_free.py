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
    assets = {**candidate.assets, found.scores: (FILE, to_npy(scores))}
    return replace(candidate, assets=assets), found


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
