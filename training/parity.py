"""The gate every release passes: the exported graph answers as the trained network does."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import nn

from service.errors import ReleaseRefused
from service.manifest import Parity, Precision
from training.lessons import one_thread


class Allowed(NamedTuple):
    """Largest difference of a probability, and share of the rows whose label may flip."""

    difference: float
    flips: float


#: FP16 has 11 significant bits, a relative error of 5e-4 in each step; over the depth of a
#: network some of that adds up. A label flips only between classes nearly equal in probability.
ALLOWED: dict[Precision, Allowed] = {"fp32": Allowed(1e-5, 0), "fp16": Allowed(5e-3, 0.01)}
#: Pixels that the reference evaluator sees: it takes seconds for so many.
REFERENCE_VALUES = 400_000
#: The graph is traced with 2 rows and has to be right for any number.
BATCHES = (1, 3, 8, 17)


def check(
    name: str,
    network: nn.Module,
    graph: Path,
    images: NDArray[np.uint8],
    labels: tuple[str, ...],
    precision: Precision = "fp32",
) -> Parity:
    """Compare network and graph on every row.

    Args:
        name: the model's, for the message.
        network: images (n, C, H, W) UINT8, 0 to 255, to probabilities (n, labels).
        graph: the ONNX file exported from it.
        images: (n, C, H, W) UINT8.
        labels: names of the classes.
        precision: of the graph; the network's is FP32.

    Raises:
        ReleaseRefused: a probability differs by more than is ALLOWED, more labels flip, or the
            graph does not take any number of rows; the message names the rows.
    """
    allowed = ALLOWED[precision]
    wanted = _network_answers(network, images)
    got = _graph_answers(name, graph, images)
    if got.shape != wanted.shape:
        _refuse(name, f"the graph answers {got.shape}, the network {wanted.shape}")
    difference = _difference(got, wanted)
    before, after = wanted.argmax(axis=1), got.argmax(axis=1)
    if precision == "fp16":
        some, strict = _half_answers(graph, images)
        difference[some] = np.maximum(difference[some], _difference(strict, wanted[some]))
        strictly = strict.argmax(axis=1)
        after[some] = np.where(strictly == before[some], after[some], strictly)
    # A NaN is no small difference.
    far = np.flatnonzero(~(difference <= allowed.difference))
    flipped = np.flatnonzero(before != after)
    flips = [f"row {r} '{labels[before[r]]}' -> '{labels[after[r]]}'" for r in flipped[:5]]
    if len(far) or len(flipped) > allowed.flips * len(images):
        _refuse(
            name,
            f"{len(far)} of {len(images)} test rows differ by more than {allowed.difference:g} "
            f"(rows {_some(far)}; largest difference {difference.max():.3g}), and "
            f"{len(flipped)} labels flip ({'; '.join(flips) or 'none'})",
        )
    return Parity(
        rows=len(images),
        max_abs_difference=float(difference.max()),
        label_flips=len(flipped),
        tolerance=allowed.difference,
    )


def _network_answers(network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    network = network.eval().cpu()
    answers = []
    with torch.inference_mode(), one_thread():
        # Eight photographs stay in the cache; sixty-four took three times as long.
        for start in range(0, len(images), 8):
            answers.append(network(torch.from_numpy(images[start : start + 8])).numpy())
    return np.concatenate(answers)


def _graph_answers(name: str, graph: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    if isinstance(tensor.shape[0], int):
        _refuse(name, f"the graph takes exactly {tensor.shape[0]} rows, not any number")
    answers, start, sizes = [], 0, cycle(BATCHES)
    while start < len(images):
        batch = images[start : start + next(sizes)]
        answers.append(session.run(["probabilities"], {tensor.name: batch})[0])
        start += len(batch)
    return np.concatenate(answers)


def _half_answers(
    graph: Path, images: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """What a graph answers where every value is rounded to FP16, as it is on a GPU.

    ONNX Runtime's CPU kernels keep FP32 from one step to the next, so that on a CPU nothing
    overflows and little is lost. The reference evaluator of ONNX does as the graph says, slowly:
    it sees as many rows, evenly spread, as have REFERENCE_VALUES.

    Returns:
        The rows, and their answers.
    """
    count = min(len(images), max(2, REFERENCE_VALUES // images[0].size))
    rows = np.linspace(0, len(images) - 1, count).astype(np.intp)
    with np.errstate(all="ignore"):  # what overflows is found by the comparison
        answers: Any = ReferenceEvaluator(str(graph)).run(None, {"image": images[rows]})
    return rows, np.asarray(answers[0], np.float32)


def _difference(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Largest difference in each row."""
    largest: NDArray[np.float64] = np.abs(got.astype(np.float64) - wanted).max(axis=1)
    return largest


def _some(rows: NDArray[np.intp]) -> str:
    shown = ", ".join(str(row) for row in rows[:10])
    return f"{shown}, ..." if len(rows) > 10 else shown or "none"


def _refuse(name: str, what: str) -> NoReturn:
    raise ReleaseRefused(
        f"{name}: {what}. Nothing was stored. Look for layers that behave differently when "
        "exported (dropout, sampling, data-dependent shapes), mend the network, release again; "
        "where only FP16 is refused, release without --fp16."
    )
