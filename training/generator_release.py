"""From a trained generator of pictures to a model in the store, or to a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from service.explain.render import png
from service.explain.sheet import contact_sheet
from service.manifest import Provenance, Tensor
from service.store import ModelStore, StoredModel
from service.tasks.generate import FURTHEST, LABEL, NOISE, drawn_noise, grey_levels
from training.candidate import Candidate, some_rows
from training.feature_space import Space
from training.generation import SHOWN, Beside, Generation
from training.parity import network_answers
from training.release import release

#: Seeds of the noise by which an epoch is chosen, and by which a release is measured.
VALIDATION_SEED, MEASURED_SEED = 0, 1


@dataclass(frozen=True, slots=True)
class Origin:
    """What a generator came from, and what it is held against.

    Attributes:
        summary: what it is and what it is for: the first paragraph of its card.
        noise: numbers that a picture is made from.
        train: pictures that it has learnt from, (n, C, H, W), 0 to 255, none varied.
        test, test_labels: pictures that it has never seen, and their labels.
        curve: how training went, a PNG.
        labels: what it can be told to draw; none = nothing.
    """

    name: str
    family: str
    summary: str
    noise: int
    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    curve: bytes
    provenance: Provenance
    labels: tuple[str, ...] = ()


def release_generator(
    network: nn.Module, origin: Origin, space: Space, store: ModelStore
) -> StoredModel:
    """Release a generator as the next version of its name.

    The gate holds graph and network against each other on as many rows of noise as there are test
    pictures; how real and how new the pictures are that the graph makes of them is measured, too.

    Args:
        network: noise (n, z), and labels (n,) INT64 where there are some, to pictures in [0, 1].
        origin: of it.
        space: in which pictures are compared.
        store: takes it.

    Raises:
        ReleaseRefused: the exported graph is not the network; nothing was stored.
    """
    beside = Beside(space, origin.train, origin.test)

    def judged(answers: Mapping[str, NDArray[Any]]) -> Generation:
        return beside.judge(grey_levels(answers["image"]))

    rows, inputs = _given(origin)
    first = network_answers(network, some_rows(rows, slice(SHOWN)))[0]
    sheet = png(contact_sheet(grey_levels(first), scale=2))
    candidate = Candidate(
        name=origin.name,
        family=origin.family,
        task="generate",
        summary=origin.summary,
        network=network,
        inputs=inputs,
        outputs=(_pictures(origin.test.shape[1:]),),
        rows=rows,
        truth=np.zeros(len(origin.test), np.int64),
        labels=origin.labels,
        assets={
            "learning_curve": ("learning-curve.png", origin.curve),
            "samples": ("samples.png", sheet),
        },
        provenance=origin.provenance,
        sanity=(0, 0),
        generation=judged,
    )
    return release(candidate, store)


def _given(origin: Origin) -> tuple[dict[str, NDArray[Any]], tuple[Tensor, ...]]:
    """Noise, and labels of the test part where they are told; and what the graph takes."""
    noise = drawn_noise(MEASURED_SEED, len(origin.test), origin.noise)
    taken = Tensor(
        name=NOISE, datatype="FP32", shape=(-1, origin.noise), unit="standard deviation",
        range=(-FURTHEST, FURTHEST),
    )  # fmt: skip
    if not origin.labels:
        return {NOISE: noise}, (taken,)
    last = float(len(origin.labels) - 1)
    told = Tensor(name=LABEL, datatype="INT64", shape=(-1,), unit="label", range=(0.0, last))
    return {NOISE: noise, LABEL: origin.test_labels}, (taken, told)


def _pictures(shape: tuple[int, ...]) -> Tensor:
    """The output: pictures (n, C, H, W), 0 = black, 1 = white."""
    return Tensor(
        name="image", datatype="FP32", shape=(-1, *shape), unit="share of white", range=(0.0, 1.0)
    )
