"""Accuracy of `train mlp` beside scikit-learn's MLPClassifier with the same layers.

Both see standardised inputs and are scored on the same test rows, which neither has seen. For
each seed another fifth of the table is the test part. Ours finds by a validation part, a fifth,
how long to train, and then trains on it as well (`--refit`); its options are those with the lowest
validation loss on breast_cancer of a few that were tried. scikit-learn's has its defaults, and
trains on the same rows in the end ("all"), or without the validation part ("less").

    python tests/bench/mlp_accuracy.py
"""

from __future__ import annotations

import io
import statistics
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.store import ModelStore
from training.data import tables
from training.options import Options
from training.release import release
from training.train_mlp import Config, candidate_of, train

SEEDS = range(5)
HIDDEN = (100,)


def ours(data: str, seed: int, home: Path) -> float:
    """Through ONNX Runtime, as released."""
    options = Options(
        epochs=200, patience=20, refit=True, optimizer="adamw", l2=0.01, dropout=0.3, seed=seed,
        device="cpu",
    )  # fmt: skip
    config = Config(data=data, hidden=HIDDEN, name="bench", split_seed=seed, options=options)
    table = tables.load(data)
    parts = tables.split(table, seed)
    network, fitted = train(config, table, parts, Console(file=io.StringIO()))
    asking = candidate_of(config, table, parts, network, fitted)
    stored = release(replace(asking, sanity=(0, 0), mistakes=0), ModelStore(home))
    return stored.manifest.metrics["accuracy"]


def sklearn(data: str, seed: int, everything: bool) -> float:
    """Its defaults but for the layers: adam, 1e-3, ReLU, 200 epochs at most."""
    table = tables.load(data)
    parts = tables.split(table, seed)
    train = np.concatenate([parts.train, parts.validation]) if everything else parts.train
    network = make_pipeline(StandardScaler(), MLPClassifier(HIDDEN, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(table.rows[train], table.truth[train])
    return float(network.score(table.rows[parts.test], table.truth[parts.test]))


if __name__ == "__main__":
    print("| data | ours | scikit-learn, all | scikit-learn, less |\n|---|---|---|---|")
    for data in ("breast_cancer", "wine", "digits"):
        with tempfile.TemporaryDirectory() as home:
            columns = [
                [ours(data, seed, Path(home)) for seed in SEEDS],
                [sklearn(data, seed, True) for seed in SEEDS],
                [sklearn(data, seed, False) for seed in SEEDS],
            ]
        cells = [
            f"{100 * statistics.mean(one):.2f} % ({', '.join(f'{100 * a:.1f}' for a in one)})"
            for one in columns
        ]
        print(f"| {data} | {' | '.join(cells)} |", flush=True)
