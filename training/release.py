"""From a trained network to a model in the store, or to a refusal.

Export to ONNX, hold the graph against the network on every test row, evaluate the graph
through the service's own code, write the manifest and the card, store. Files cross from
here to `service/`, nothing else does.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from service.inference.session import Session
from service.manifest import (
    ExplainerDefaults,
    Graph,
    ImageMedia,
    Manifest,
    Parity,
    Precision,
    Provenance,
    Tensor,
)
from service.store import ModelStore, StoredModel, sha256_of
from service.tasks.classify import Classifier
from training import parity
from training.card import card_of
from training.export import export, halve

GRAPH = "predict.onnx"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained image classifier that asks to be released.

    Attributes:
        network: images (n, C, H, W) UINT8, 0 to 255, to probabilities (n, labels).
        summary: what it is and what it is for: the first paragraph of its card.
        images: (n, C, H, W) UINT8, 0 to 255; the rows of the parity gate.
        truth: (n,) label indices of `images`, -1 where nobody knows; at least one is known.
        example: file name and bytes of a picture that shows the model at work.
        precision: what the released graph computes in.
        measured: names in the manifest's metrics of the rate that is right, in [0, 1], and of
            the number of rows scored.
    """

    name: str
    family: str
    summary: str
    network: nn.Module
    labels: tuple[str, ...]
    media: ImageMedia
    explainer: ExplainerDefaults
    images: NDArray[np.uint8]
    truth: NDArray[np.int64]
    example: tuple[str, bytes]
    provenance: Provenance
    precision: Precision = "fp32"
    measured: tuple[str, str] = ("accuracy", "test_rows")


def release(candidate: Candidate, store: ModelStore) -> StoredModel:
    """Release a candidate as the next version of its name.

    Returns:
        The stored model; the figures in its manifest were measured through ONNX Runtime.

    Raises:
        ReleaseRefused: the exported graph is not the network; nothing was stored.
        StoreError: the store cannot take it.
    """
    with tempfile.TemporaryDirectory(prefix="glassline-release-") as scratch:
        folder = Path(scratch)
        export(candidate.network, candidate.images[:2], folder / GRAPH)
        if candidate.precision == "fp16":
            halve(folder / GRAPH)
        found = parity.check(
            candidate.name,
            candidate.network,
            folder / GRAPH,
            candidate.images,
            candidate.labels,
            candidate.precision,
        )
        example, body = candidate.example
        (folder / example).write_bytes(body)
        version = store.next_version(candidate.name)
        draft = _manifest(candidate, version, folder, found, metrics={})
        metrics = evaluate(StoredModel(draft, folder), candidate)
        manifest = _manifest(candidate, version, folder, found, metrics)
        return store.put(manifest, {name: folder / name for name in (GRAPH, example)})


def evaluate(model: StoredModel, candidate: Candidate) -> dict[str, float]:
    """Score the exported graph as the service would answer: session, task, label.

    Returns:
        The two figures that `candidate.measured` names, over the rows whose truth is known.
    """
    known = candidate.truth >= 0
    session = Session(model, device="cpu")
    right = 0
    for rows in np.array_split(np.flatnonzero(known), 1 + int(known.sum()) // 64):
        outputs = session.run({candidate.media.input: candidate.images[rows]})
        answers = Classifier(model.manifest).answer(outputs)["label"]
        wanted = [candidate.labels[index] for index in candidate.truth[rows]]
        right += sum(got == want for got, want in zip(answers, wanted, strict=True))
    rate, rows_scored = candidate.measured
    return {rate: right / int(known.sum()), rows_scored: float(known.sum())}


def _manifest(
    candidate: Candidate,
    version: str,
    folder: Path,
    found: Parity,
    metrics: dict[str, float],
) -> Manifest:
    media, example = candidate.media, candidate.example[0]
    channels = {"L": 1, "RGB": 3}[media.color]
    pixels = Tensor(
        name=media.input,
        datatype="UINT8",
        shape=(-1, channels, media.height, media.width),
        unit="grey level",
        range=(0.0, 255.0),
    )
    probabilities = Tensor(
        name="probabilities",
        datatype="FP32",
        shape=(-1, len(candidate.labels)),
        unit="probability",
        range=(0.0, 1.0),
    )
    manifest = Manifest(
        name=candidate.name,
        version=version,
        family=candidate.family,
        task="classify",
        graphs={"predict": Graph(file=GRAPH, sha256=sha256_of(folder / GRAPH))},
        precision=candidate.precision,
        assets={"example": Graph(file=example, sha256=sha256_of(folder / example))},
        inputs=(pixels,),
        outputs=(probabilities,),
        labels=candidate.labels,
        media=media,
        explainer=candidate.explainer,
        metrics=metrics,
        parity=found,
        provenance=candidate.provenance,
    )
    return manifest.model_copy(update={"card": card_of(manifest, candidate.summary)})
