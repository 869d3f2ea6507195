"""A small detector of a SKAB run: six sensors, windows of ten rows, two seconds of processor time.

`learnt` and `Scorer` are what the benches of SKAB share. `released` puts one in a store within a
minute, for whoever needs a model of sensor windows to try things on:

    python -m tests.bench.skab_model valve1/9 --home .glassline-bench

The settings were chosen by comparing a few dozen on the seventeen development runs
(`is_development`) with their labels; `skab.py` has the figures of the other seventeen beside.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from rich.console import Console

from models.anomaly import Detector
from service.store import ModelStore, StoredModel
from training.autoencoder_candidate import candidate_of
from training.autoencoder_config import Config
from training.data import skab
from training.data.one_class import OneClass
from training.data.skab import LEARNT, Run, Skab
from training.export import export
from training.fitting import Fitted
from training.options import AUTOENCODER
from training.release import release
from training.train_autoencoder import fit_scores, learn

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "skab"
#: Their level wanders within the rows that are learnt from; `skab.py` says how that is found.
LEFT_OUT = ("Temperature", "Thermocouple")
KEPT = tuple(at for at, name in enumerate(skab.SENSORS) if name not in LEFT_OUT)
RECIPE = Config(
    kind="dense", name="skab", window=10, latent=8, units=32, scores=("window", "level"),
    drop=LEFT_OUT, budget=0.01, options=replace(AUTOENCODER, epochs=10),
)  # fmt: skip
OUTPUTS = ("score", "error", "reconstruction", "latent", "parts")
#: Share of the rows learnt from, the last ones, that choose the epoch.
HELD = 0.15
#: Of the rows learnt from, the last ones that calibrate instead, where something is calibrated:
#: 101 windows, and 99 are the fewest for a budget of 1 %.
CALIBRATING = 110
#: Weight of the newest score in the moving average over a stream.
SMOOTHING = 0.2


def is_development(run: Run) -> bool:
    """Whether a run is one of those with even numbers, on which recipes were compared."""
    return int(run.name.split("/")[1]) % 2 == 0


def windows(rows: NDArray[np.float32], steps: int = RECIPE.window) -> NDArray[np.float32]:
    """Windows (T - steps + 1, steps, 6) of rows (T, 8): one ends at each row that has enough."""
    cut = np.lib.stride_tricks.sliding_window_view(rows[:, KEPT], steps, axis=0)
    return np.ascontiguousarray(cut.transpose(0, 2, 1))


def learnt(rows: NDArray[np.float32], config: Config = RECIPE) -> tuple[Detector, Fitted]:
    """A detector that has seen these rows (n, 8) and nothing else."""
    cut = round((1 - HELD) * len(rows))
    detector, fitted = learn(config, windows(rows[:cut]), windows(rows[cut:]))
    # What is usual is taken from all of them: the last sixty alone would say too little of it.
    fit_scores(detector, windows(rows), windows(rows))
    return detector, fitted


class Scorer:
    """A detector as an exported graph in ONNX Runtime.

    Args:
        rows: (n, 8) that it learns from.
    """

    def __init__(self, rows: NDArray[np.float32], config: Config = RECIPE) -> None:
        detector, _ = learnt(rows, config)
        self.parts = detector.names
        with TemporaryDirectory() as folder:
            path = Path(folder) / "predict.onnx"
            export(detector, {"window": windows(rows[:12])}, OUTPUTS, path)
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = ort.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Smoothed scores (T - 9,) of rows (T, 8), each of a row and nothing after it."""
        return smoothed(self.outputs(rows)[0])

    def outputs(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
        """Raw scores (T - 9,) of rows (T, 8), and the parts (T - 9, k) that they are made of."""
        found = self._session.run(["score", "parts"], {"window": windows(rows)})
        score, parts = (np.asarray(one, np.float64) for one in found)
        return score[:, 0], parts


def smoothed(scores: NDArray[np.float64], weight: float = SMOOTHING) -> NDArray[np.float64]:
    """The exponential moving average of scores (T,): causal, begins at the first."""
    averages = np.empty_like(scores)
    average = scores[0]
    for at, score in enumerate(scores):
        averages[at] = average = weight * score + (1 - weight) * average
    return averages


def one_class(run: Run, digest: str, steps: int = RECIPE.window) -> OneClass:
    """A run's parts: 290 of its first 400 rows learn, 110 calibrate, the others are tested."""
    known, later = run.rows[:LEARNT], run.rows[LEARNT - steps + 1 :]
    rows = LEARNT - CALIBRATING
    cut = min(round((1 - HELD) * rows), rows - 2 * steps)
    return OneClass(
        train=windows(known[:cut], steps),
        held=windows(known[cut:-CALIBRATING], steps),
        calibration=windows(known[-CALIBRATING:], steps),
        test=windows(later, steps),
        name=f"SKAB {run.name}",
        sha256=digest,
        licence=skab.LICENCE,
        anomalous=run.tested,
        split=f"the first {LEARNT} rows: {cut} learn, {CALIBRATING} calibrate; the rest is tested",
        channels=tuple(skab.SENSORS[at] for at in KEPT),
        shown=[f"row {LEARNT + at}" for at in range(len(run.tested))],
    )


def released(
    run: str,
    store: ModelStore,
    data: Skab | None = None,
    recipe: Config = RECIPE,
    **changed: Any,
) -> StoredModel:
    """Train on the first 400 rows of a run and release, calibrated at 1 %; under a minute.

    Args:
        run: its name, `valve1/9`.
        recipe: of the detector.
        changed: fields of `Config` that are to be others, `name` or `budget` perhaps.
    """
    data = data or skab.load(DATA)
    found = next(one for one in (*data.runs, data.free) if one.name == run)
    config = replace(recipe, **{"name": f"skab-{run.replace('/', '-')}", **changed})
    parts = one_class(found, data.sha256, config.window)
    detector, fitted = learn(config, parts.train, parts.held)
    known = windows(found.rows[: LEARNT - CALIBRATING], config.window)
    fit_scores(detector, known, known)
    # Ten explanations and the test with random weights take longer than all the rest.
    candidate = replace(candidate_of(config, parts, detector, fitted), sanity=(0, 0), mistakes=0)
    return release(candidate, store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="valve1/9")
    parser.add_argument("--home", type=Path, default=Path(".glassline-bench"))
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    stored = released(asked.run, ModelStore(asked.home), skab.load(asked.data))
    Console().print(f"{stored.manifest.reference} in {asked.home}: {stored.manifest.metrics}")


if __name__ == "__main__":
    main()
