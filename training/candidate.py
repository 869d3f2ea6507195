"""What asks to be released: a trained network, the rows it is held against, what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from numpy.typing import NDArray
from torch import nn

from service.errors import ReleaseRefused
from service.manifest import (
    Adaptive,
    EventBudget,
    Evidence,
    ExplainerDefaults,
    ImageMedia,
    Interval,
    Precision,
    Provenance,
    RateBudget,
    SequenceMedia,
    Task,
    Tensor,
    TextMedia,
)

if TYPE_CHECKING:
    from training.generation import Generation

#: Rows by graph input; axis 0 counts them, and all of one block have the same extents.
Rows = Mapping[str, NDArray[Any]]
#: What was answered, by output, and what is true, to further figures of the manifest's metrics.
Figures = Callable[[Mapping[str, NDArray[Any]], NDArray[Any]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Held:
    """Rows by graph input, and what is true of them; as `Candidate.rows` and `Candidate.truth`."""

    rows: Rows | Sequence[Rows]
    truth: NDArray[Any]

    @property
    def blocks(self) -> tuple[Rows, ...]:
        """The rows, a mapping for each length."""
        return (self.rows,) if isinstance(self.rows, Mapping) else tuple(self.rows)


@dataclass(frozen=True, slots=True)
class AnomalyFree:
    """Rows without anomalies that training never saw, and the budget calibrated on them.

    Attributes:
        rows: by graph input; as `Candidate.rows`.
        budget: of false alarms: `RateBudget(rate=0.01)`, or so many alarm events an hour.
        method, adaptive: see `Calibration`.
    """

    rows: Rows | Sequence[Rows]
    budget: RateBudget | EventBudget = field(default_factory=lambda: RateBudget(rate=0.01))
    method: Literal["conformal", "evt"] = "conformal"
    adaptive: Adaptive | None = None

    @property
    def blocks(self) -> tuple[Rows, ...]:
        """The rows, a mapping for each length."""
        return (self.rows,) if isinstance(self.rows, Mapping) else tuple(self.rows)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained network that asks to be released.

    Attributes:
        task: `classify`: the first output is probabilities (n, labels); `regress`: values (n, k);
            `anomaly`: the score (n, 1), then `error` (see `detection_outputs`); `embed`: vectors;
            `generate`: what was made of noise (n, ...).
        summary: what it is and what it is for: the first paragraph of its card.
        network: takes the graph's inputs in the order of `rows`, batch on axis 0; gives one
            tensor, or a tuple of them in the order of `outputs`.
        inputs: as callers send them. They are the graph's, but for texts (see `TextMedia`).
        outputs: as the graph gives them.
        rows: by graph input: the rows of the parity gate. Where lengths differ a list of such
            mappings, one a length.
        truth: what is true of `rows`, those of all blocks in a row; at least one is known.
            classify: (n,) indices of labels, -1 where nobody knows; regress: (n, k), NaN there;
            anomaly: (n,) 1 of anomalies, 0 of normal rows, -1 where nobody knows; generate: (n,)
            zeros, nothing is true of noise.
        assets: role to file name and content. `example` shows the model at work; `background`
            holds statistics of the training data as JSON (`TableBackground.to_json`), `usual` what
            is usual of each channel of a window, a JSON list.
        free: names of the axes after axis 0 whose extent is free, by graph input: where two bear
            the same name, their extents are the same. {"window": {1: "time"}}. The rows must come
            with at least two extents of each.
        exporter: recurrent networks need `torchscript`: torch's newer exporter freezes the
            number of their steps.
        precision: what the released graph computes in.
        evidence, interval: see `Manifest`.
        sanity: rows that are explained with learnt and with random weights, and samples of each
            explanation; see `randomisation.check`. No rows = no check.
        measured: names in the manifest's metrics: of the rate that is right, in [0, 1] (classify
            alone), and of the number of rows scored.
        figures: further metrics, over the rows whose truth is known.
        validation: rows that the network was not fitted to. A classifier's probabilities are
            calibrated on them by a temperature, inside the graph; none = left as they are.
        calibration: training rows that `int8` takes the ranges of its values from.
        shown: what a person reads of each row, in the order of `truth`; the text of a text.
        mistakes: rows that the evaluation page explains, the worst ones.
        anomaly_free: what the budget of a detector is calibrated on; `anomaly` alone has it.
        generation: what is found of the answers to `rows`, by output; `generate` alone has it.
    """

    name: str
    family: str
    task: Task
    summary: str
    network: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rows: Rows | Sequence[Rows]
    truth: NDArray[Any]
    provenance: Provenance
    labels: tuple[str, ...] = ()
    media: ImageMedia | TextMedia | SequenceMedia | None = None
    explainer: ExplainerDefaults | None = None
    assets: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    exporter: Literal["dynamo", "torchscript"] = "dynamo"
    precision: Precision = "fp32"
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    sanity: tuple[int, int] = (8, 500)
    measured: tuple[str, str] = ("accuracy", "test_rows")
    figures: Figures | None = None
    validation: Held | None = None
    calibration: Rows | None = None
    shown: Sequence[str] = ()
    mistakes: int = 10
    interval: Interval | None = None
    anomaly_free: AnomalyFree | None = None
    generation: Callable[[Mapping[str, NDArray[Any]]], Generation] | None = None

    def __post_init__(self) -> None:
        """Refuse, before a long export, what cannot be released.

        Raises:
            ReleaseRefused: rows, truth and free axes do not belong together.
        """
        if not self.blocks or not self.blocks[0]:
            self._refuse("got no rows, wanted the rows of the parity gate")
        for block in self.blocks:
            if tuple(block) != self.graph_inputs:
                self._refuse(f"got rows of {tuple(block)} after rows of {self.graph_inputs}")
            if len({len(array) for array in block.values()}) != 1 or not rows_of(block):
                self._refuse(f"inputs have {[len(a) for a in block.values()]} rows, wanted as many")
        if (self.task == "anomaly") != (self.anomaly_free is not None):
            self._refuse("anomaly-free rows to calibrate on belong to the task 'anomaly' alone")
        if (self.task == "generate") != (self.generation is not None):
            self._refuse("what is found of generated rows belongs to the task 'generate' alone")
        if self.task == "anomaly" and self.precision != "fp32" and len({0, 1} & {*self.truth}) < 2:
            self._refuse("in fewer bits it is judged by its AUROC: wants normal rows and anomalies")
        if len(self.truth) != self.row_count:
            self._refuse(f"got the truth of {len(self.truth)} rows, wanted of {self.row_count}")
        for tensor in self.inputs:
            axes = {axis for axis, extent in enumerate(tensor.shape) if axis and extent < 0}
            if tensor.name in self.graph_inputs and axes != set(self.free.get(tensor.name, ())):
                self._refuse(
                    f"input '{tensor.name}' has free axes {sorted(axes)} besides axis 0, but "
                    f"`free` names {dict(self.free.get(tensor.name, {}))}"
                )
        for name, axes_named in self.free.items():
            for axis, called in axes_named.items():
                if len({block[name].shape[axis] for block in self.blocks}) < 2:
                    self._refuse(
                        f"axis {axis} of input '{name}' ('{called}') is free, but all rows have "
                        "the same extent there, so that a frozen one would not be seen"
                    )

    @property
    def blocks(self) -> tuple[Rows, ...]:
        """The rows, a mapping for each length."""
        return (self.rows,) if isinstance(self.rows, Mapping) else tuple(self.rows)

    @property
    def graph_inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs, in the order in which the network takes them."""
        return tuple(self.blocks[0])

    @property
    def row_count(self) -> int:
        """Rows in all blocks."""
        return sum(rows_of(block) for block in self.blocks)

    def _refuse(self, what: str) -> NoReturn:
        raise ReleaseRefused(f"{self.name}: {what}. Mend the training script.")


def rows_of(block: Rows) -> int:
    """How many rows a block has."""
    return len(next(iter(block.values())))


def some_rows(block: Rows, rows: Any) -> dict[str, NDArray[Any]]:
    """The rows of a block that an index or a slice picks."""
    return {name: array[rows] for name, array in block.items()}


def pixels(media: ImageMedia) -> Tensor:
    """The input of a network that takes decoded pictures: (n, C, H, W) UINT8, 0 to 255."""
    return Tensor(
        name=media.input,
        datatype="UINT8",
        shape=(-1, {"L": 1, "RGB": 3}[media.color], media.height, media.width),
        unit="grey level",
        range=(0.0, 255.0),
    )


def probabilities(classes: int) -> Tensor:
    """The first output of a classifier: (n, classes) FP32, in [0, 1]."""
    return Tensor(
        name="probabilities",
        datatype="FP32",
        shape=(-1, classes),
        unit="probability",
        range=(0.0, 1.0),
    )


def values(targets: Sequence[str], unit: str | None = None) -> Tensor:
    """The first output of a regression: (n, targets) FP32, in `unit`."""
    return Tensor(
        name="value", datatype="FP32", shape=(-1, len(targets)), unit=unit, features=tuple(targets)
    )


def detection_outputs(
    error: Sequence[int], reconstruction: Tensor | None, latent: int | None, parts: Sequence[str]
) -> tuple[Tensor, ...]:
    """The outputs of a detector, in the order in which its graph gives them.

    Args:
        error: shape of the error of a row: (H, W) of a picture, (T, C) of a window, -1 = any.
        reconstruction: of the input, in its own unit; None = the graph gives none.
        latent: values of the latent vector; None = the graph gives none.
        parts: names of the scores that the score is made of; none = the graph gives none.
    """
    outputs = [
        Tensor(name="score", datatype="FP32", shape=(-1, 1), unit="score", features=("score",)),
        Tensor(name="error", datatype="FP32", shape=(-1, *error)),
    ]
    if reconstruction is not None:
        outputs.append(reconstruction)
    if latent is not None:
        outputs.append(Tensor(name="latent", datatype="FP32", shape=(-1, latent)))
    if parts:
        shape = (-1, len(parts))
        outputs.append(Tensor(name="parts", datatype="FP32", shape=shape, features=tuple(parts)))
    return tuple(outputs)
