"""Detectors of pictures by published protocols, baselines beside; all through ONNX Runtime.

Digits: each class once normal, all others anomalies; AUROC on the test part, mean over classes.

    python tests/bench/autoencoders.py digits --kind conv

DeepPCB: taught templates of trainval.txt alone; test.txt's boards are the anomalies, their
templates the normal pictures. The template of a tested board is not shown to any detector. Boxes
say which pixels are wrong. The figures are those of a released model, which is trained by

    glassline train autoencoder --kind denoising --data deeppcb:DeepPCB --epochs 40 --latent 32
    python tests/bench/autoencoders.py boards ../shared/data/deeppcb --model denoising-deeppcb

A sheet of ten defective boards with their error maps is written beside (`--sheet`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from models.anomaly import Detector
from service import settings
from service.anomaly import conformal
from service.store import ModelStore, StoredModel
from training.autoencoder_config import Config
from training.autoencoder_sheet import drawn
from training.data import deeppcb_boards, digits
from training.data.one_class import OneClass, of_pictures
from training.export import export
from training.train_autoencoder import learn

OUTPUTS = ["score", "error", "reconstruction", "latent", "parts"]
#: Error maps are compared with boxes on a grid of so many pixels.
GRID = 4
#: False positives that AUPRO is integrated up to.
MOST_FALSE = 0.3


def session_of(graph: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def bench_digits(kinds: list[str]) -> None:
    """A line a kind: mean AUROC, each class's, and how far the export is off."""
    pictures = digits.load()
    data = [of_pictures(pictures, label) for label in pictures.labels]
    print("| detector | mean AUROC | by digit, 0 to 9 | export off by | verdicts flipped |")
    print("|---|---|---|---|---|")
    baselines: dict[str, Callable[[OneClass], NDArray[np.float64]]] = {
        "PCA, 16 components": _pca_error,
        "nearest training picture": _nearest,
    }
    for name, scored in baselines.items():
        found = [roc_auc_score(one.anomalous, scored(one)) for one in data]
        print(f"| {name} | {np.mean(found):.4f} | {_listed(found)} | | |", flush=True)
    for kind in kinds:
        found, apart, flips = [], 0.0, 0
        parts: list[list[float]] = []
        for label, one in zip(pictures.labels, data, strict=True):
            config = Config(kind=kind, normal=label)  # type: ignore[arg-type]
            detector, _ = learn(config, one.train, one.held)
            score, of_parts, off, flipped = _exported(detector, one)
            found.append(float(roc_auc_score(one.anomalous, score)))
            parts.append([float(roc_auc_score(one.anomalous, part)) for part in of_parts.T])
            apart, flips = max(apart, off), flips + flipped
        line = f"| {kind} | {np.mean(found):.4f} | {_listed(found)} | {apart:.1e} | {flips} |"
        print(line, flush=True)
        of_each = zip(detector.names, np.mean(parts, axis=0), strict=True)
        alone = ", ".join(f"{name} {mean:.4f}" for name, mean in of_each)
        print(f"| {kind}, each score alone | {alone} | | | |", flush=True)


def _exported(
    detector: Detector, data: OneClass
) -> tuple[NDArray[np.float32], NDArray[np.float32], float, int]:
    """Scores by ONNX Runtime, their parts, and how far and how often the network differs."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        export(detector, {"image": data.test[:2]}, OUTPUTS, graph)
        session = session_of(graph)
        score, parts = session.run(["score", "parts"], {"image": data.test})
        (reference,) = session.run(["score"], {"image": data.calibration})
    with torch.inference_mode():
        said = detector(torch.from_numpy(data.test))[0].numpy()[:, 0]
    limit = conformal.threshold(np.sort(reference[:, 0].astype(np.float64)), 0.05)
    flipped = int(((said > limit) != (score[:, 0] > limit)).sum())
    return score[:, 0], parts, float(np.abs(said - score[:, 0]).max()), flipped


def _pca_error(data: OneClass) -> NDArray[np.float64]:
    train, test = (one.reshape(len(one), -1) / 255 for one in (data.train, data.test))
    fitted = PCA(16, random_state=0).fit(train)
    error: NDArray[np.float64] = np.square(
        test - fitted.inverse_transform(fitted.transform(test))
    ).mean(axis=1)
    return error


def _nearest(data: OneClass) -> NDArray[np.float64]:
    train, test = (one.reshape(len(one), -1) / 255 for one in (data.train, data.test))
    apart = np.square(test[:, None] - train[None]).mean(axis=2)
    nearest: NDArray[np.float64] = apart.min(axis=1)
    return nearest


def _listed(figures: list[float]) -> str:
    return " ".join(f"{100 * one:.1f}" for one in figures)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a detector says of the test part: scores (t,), error maps (t, h, w) on the grid."""

    score: NDArray[np.float64]
    error: NDArray[np.float32]


def bench_boards(root: Path, model: str, sheet: Path, pairs: int) -> None:
    """A line a detector: AUROC of pictures and of pixels, AUPRO."""
    data = deeppcb_boards.load(root, Console(), pairs)
    wrong = data.anomalous
    assert data.regions is not None
    inside = data.regions[:, GRID // 2 :: GRID, GRID // 2 :: GRID]
    print(f"{(~wrong).sum()} templates and {wrong.sum()} boards of test.txt")
    print("| detector | pictures, AUROC | pixels, AUROC | pixels of boards alone | AUPRO |")
    print("|---|---|---|---|---|")
    for name, scored in _detectors(data, model, sheet):
        cells = [
            roc_auc_score(wrong, scored.score),
            roc_auc_score(inside.ravel(), scored.error.ravel()),
            roc_auc_score(inside[wrong].ravel(), scored.error[wrong].ravel()),
            aupro(inside, scored.error),
        ]
        print(f"| {name} | {' | '.join(f'{one:.4f}' for one in cells)} |", flush=True)


def _detectors(data: OneClass, model: str, sheet: Path) -> Iterator[tuple[str, Scored]]:
    yield "PCA of 24-pixel patches, smoothed", _patches(data)
    yield "nearest template of trainval.txt", _templates(data)
    name, _, version = model.partition("@")
    store = ModelStore(settings.load().root)
    stored = store.get(name, version or None)
    parity = stored.manifest.parity
    yield f"{stored.manifest.reference}, through ONNX Runtime", _released(stored, data, sheet)
    print(
        f"export off by {parity.max_abs_difference:.1e}, {parity.label_flips} verdicts flipped, "
        f"{parity.rows} pictures"
    )


def _released(stored: StoredModel, data: OneClass, sheet: Path) -> Scored:
    session = session_of(stored.folder / stored.manifest.graphs["predict"].file)
    scores, errors = [], []
    for picture in data.test:
        score, error = session.run(["score", "error"], {"image": picture[None]})
        scores.append(float(score[0, 0]))
        errors.append(error[0, GRID // 2 :: GRID, GRID // 2 :: GRID])
    rows = np.flatnonzero(data.anomalous)
    rows = rows[np.linspace(0, len(rows) - 1, 10).astype(int)]
    error, reconstruction = session.run(["error", "reconstruction"], {"image": data.test[rows]})
    assert data.regions is not None
    sheet.write_bytes(drawn(data.test[rows], reconstruction, error, data.regions[rows]))
    return Scored(np.array(scores), np.stack(errors))


def _patches(data: OneClass, side: int = 24, stride: int = 8, kept: int = 32) -> Scored:
    """Reconstruction error of patches by their principal components, the largest of a picture."""
    random = np.random.default_rng(0)
    taught = []
    for _ in range(20_000):
        at = random.integers(len(data.train))
        y, x = random.integers(0, data.train.shape[2] - side + 1, 2)
        taught.append(data.train[at, 0, y : y + side, x : x + side].ravel() / np.float32(255))
    fitted = PCA(kept, random_state=0).fit(np.stack(taught))
    mean, axes = fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32)
    scores, errors = [], []
    for picture in data.test[:, 0]:
        windows = np.lib.stride_tricks.sliding_window_view(picture, (side, side))
        patches = windows[::stride, ::stride].astype(np.float32) / 255
        apart = patches.reshape(-1, side * side) - mean
        missed = np.square(apart).sum(axis=1) - np.square(apart @ axes.T).sum(axis=1)
        smooth = gaussian_filter(missed.reshape(patches.shape[:2]), 1.0, mode="nearest")
        scores.append(float(smooth.max()))
        errors.append(_spread(smooth, side, stride, picture.shape[0]))
    return Scored(np.array(scores), np.stack(errors))


def _spread(
    values: NDArray[np.float32], side: int, stride: int, extent: int
) -> NDArray[np.float32]:
    """Values of patches on the grid of pixels, each place by its nearest patch."""
    at = np.arange(GRID // 2, extent, GRID)
    nearest = np.clip(np.round((at - side / 2) / stride), 0, len(values) - 1).astype(int)
    return values[np.ix_(nearest, nearest)].astype(np.float32)


def _templates(data: OneClass) -> Scored:
    """The difference from the training template that is most alike."""

    def small(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        n, _, height, width = pictures.shape
        blocks = pictures.reshape(n, height // GRID, GRID, width // GRID, GRID)
        means: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32) / 255
        return means

    taught = small(data.train)
    flat = taught.reshape(len(taught), -1)
    size = np.square(flat).sum(axis=1)
    scores, errors = [], []
    for picture in data.test:
        one = small(picture[None])[0]
        nearest = int((size - 2 * flat @ one.ravel()).argmin())
        error = gaussian_filter(np.square(one - taught[nearest]), 8 / GRID, mode="nearest")
        scores.append(float(error.max()))
        errors.append(error)
    return Scored(np.array(scores), np.stack(errors))


def aupro(inside: NDArray[np.bool_], error: NDArray[np.float32]) -> float:
    """Mean share of each region that is found, over false positive rates up to `MOST_FALSE`.

    Source: Bergmann et al. 2020, arXiv:1911.02357. Boxes that overlap are one region.
    """
    from scipy.ndimage import find_objects, label

    outside = np.sort(error[~inside])
    rates = np.linspace(0, MOST_FALSE, 61)[1:]
    limits = outside[np.minimum(((1 - rates) * len(outside)).astype(int), len(outside) - 1)]
    found = []
    for region, map_ in zip(inside, error, strict=True):
        marked, _ = label(region)
        for number, box in enumerate(find_objects(marked), 1):
            values = np.sort(map_[box][marked[box] == number])
            found.append(1 - np.searchsorted(values, limits, side="right") / len(values))
    shares = np.concatenate([[0.0], np.mean(found, axis=0)])
    return float(np.trapezoid(shares, np.concatenate([[0.0], rates])) / MOST_FALSE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    told = parser.add_subparsers(dest="what", required=True)
    of_digits = told.add_parser("digits")
    of_digits.add_argument("--kind", action="append")
    boards = told.add_parser("boards")
    boards.add_argument("data", type=Path)
    boards.add_argument("--model", default="denoising-deeppcb")
    boards.add_argument("--sheet", type=Path, default=Path("boards.png"))
    boards.add_argument("--pairs", type=int, default=0, help="of the test part; 0 = all")
    asked = parser.parse_args()
    if asked.what == "digits":
        bench_digits(asked.kind or ["conv", "dense", "sparse", "denoising", "vae"])
    else:
        bench_boards(asked.data, asked.model, asked.sheet, asked.pairs)
