"""An autoencoder that asks to be released: its outputs, test rows, budget and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from models.anomaly import Detector
from service.manifest import EventBudget, ExplainerDefaults, RateBudget, Tensor
from service.protocol.media import encode_png
from training import provenance
from training.autoencoder_config import Config
from training.autoencoder_sheet import sheet
from training.candidate import AnomalyFree, Candidate, detection_outputs, pixels
from training.data.one_class import OneClass
from training.fitting import Fitted
from training.learning_curve import learning_curve

#: Steps of a window that a name is given for; pixels of error maps that are scored, at most.
PIXELS = 4_000_000
_WORDS = {
    "dense": "A dense autoencoder",
    "conv": "A convolutional autoencoder",
    "lstm": "An LSTM autoencoder",
    "sparse": "A sparse autoencoder",
    "denoising": "A denoising autoencoder",
    "vae": "A variational autoencoder",
}


def candidate_of(config: Config, data: OneClass, detector: Detector, fitted: Fitted) -> Candidate:
    """What is released: the network with its scores, tested on rows that it has never seen."""
    taken = input_of(data)
    reconstruction = Tensor(
        name="reconstruction", datatype="FP32", shape=taken.shape, unit=taken.unit,
        features=taken.features,
    )  # fmt: skip
    extent = data.shape[1:] if data.media is not None else data.shape
    outputs = detection_outputs(extent, reconstruction, config.latent, detector.names)
    if "shift" in detector.names:
        shape = (-1, data.shape[-1])
        outputs += (Tensor(name="shift", datatype="FP32", shape=shape, features=data.channels),)
    return Candidate(
        name=config.name,
        family="autoencoder",
        task="anomaly",
        summary=_summary(config, data, detector),
        network=detector,
        inputs=(taken,),
        outputs=outputs,
        rows={taken.name: data.test},
        truth=data.anomalous.astype(np.int64),
        media=data.media,
        explainer=_explainer(config, data),
        evidence={"error": "reconstruction-error"},
        exporter="torchscript" if config.kind == "lstm" else "dynamo",
        # A board's explanation takes a thousand runs over the whole board.
        sanity=(0, 0) if config.is_large(data.shape) else (4, 300),
        mistakes=0 if config.is_large(data.shape) else 10,
        assets=_assets(config, data, detector, fitted),
        shown=list(data.shown),
        figures=figures_of(data),
        anomaly_free=AnomalyFree(
            {taken.name: data.calibration}, budget_of(config), "evt" if config.evt else "conformal"
        ),
        provenance=provenance.describe(
            "training/train_autoencoder.py", config, config.options.seed, fitted.seconds,
            data.described(), detector,
        ),
    )  # fmt: skip


def input_of(data: OneClass) -> Tensor:
    """What callers send."""
    if data.media is not None:
        return pixels(data.media)
    steps, channels = data.shape
    return Tensor(
        name="window", datatype="FP32", shape=(-1, steps, channels), features=data.channels
    )


def _explainer(config: Config, data: OneClass) -> ExplainerDefaults:
    if data.media is None:
        return ExplainerDefaults(modality="sequence")
    # Each sample of a board takes tens of milliseconds.
    samples = 200 if config.is_large(data.shape) else 1000
    return ExplainerDefaults(modality="image", num_samples=samples)


def budget_of(config: Config) -> RateBudget | EventBudget:
    """False alarms that are allowed."""
    if config.events_per_hour:
        return EventBudget(
            events_per_hour=config.events_per_hour, rows_per_hour=config.rows_per_hour
        )
    return RateBudget(rate=config.budget)


def figures_of(data: OneClass) -> Any:
    """Figures of the test rows: of rows, and of pixels where it is known which are wrong."""

    def figures(answers: Mapping[str, NDArray[Any]], truth: NDArray[Any]) -> dict[str, float]:
        score, wrong = answers["score"][:, 0], truth == 1
        if wrong.all() or not wrong.any():
            return {}
        found = {
            "auroc": float(roc_auc_score(wrong, score)),
            "average_precision": float(average_precision_score(wrong, score)),
        }
        if data.regions is not None:
            error = answers["error"]
            every = max(1, error.size // PIXELS)
            inside = data.regions.reshape(-1)[::every]
            found["pixel_auroc"] = float(roc_auc_score(inside, error.reshape(-1)[::every]))
        return found

    return figures


def _assets(
    config: Config, data: OneClass, detector: Detector, fitted: Fitted
) -> dict[str, tuple[str, bytes]]:
    assets = {"learning_curve": ("learning-curve.png", learning_curve(fitted, config.name))}
    shown = int(np.argmax(data.anomalous)) if data.anomalous.any() else 0
    if data.media is None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(data.channels)
        writer.writerows([[str(value) for value in step] for step in data.test[shown]])
        usual = data.train.mean(axis=(0, 1), dtype=np.float64).tolist()
        return {
            **assets,
            "example": ("example.csv", text.getvalue().encode()),
            "usual": ("usual.json", json.dumps(usual).encode()),
        }
    return {
        **assets,
        "example": ("example.png", encode_png(np.asarray(data.test[shown], np.uint8))),
        "reconstructions": ("reconstructions.png", sheet(detector, data)),
    }


def _summary(config: Config, data: OneClass, detector: Detector) -> str:
    if data.media is not None:
        what = f"pictures of {data.shape[2]} x {data.shape[1]} pixels"
    else:
        what = f"windows of {data.shape[0]} steps of {data.shape[1]} sensors"
    scores = ", ".join(detector.names)
    spoiled = " It was taught to undo damage that was drawn at random, never a real anomaly." if (
        config.kind == "denoising"
    ) else ""  # fmt: skip
    return (
        f"{_WORDS[config.kind]} of {what}, taught what is normal in {data.name} and nothing else: "
        "what it cannot reconstruct is an anomaly. Its score is the mean of the standardised "
        f"logarithms of {scores}: 0 is a usual row.{spoiled} It says that something is unusual, "
        "not what, and a normal row unlike those it was taught is one too."
    )
