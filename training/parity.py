"""The gate every release passes: the exported graph answers as the trained network does."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from service.errors import ReleaseRefused
from service.manifest import Parity
from training.lessons import one_thread

#: Largest difference of a probability.
TOLERANCE = 1e-5
#: The graph is traced with 2 rows and has to be right for any number.
BATCHES = (1, 3, 8, 17)


def check(
    name: str,
    network: nn.Module,
    graph: Path,
    images: NDArray[np.uint8],
    labels: tuple[str, ...],
) -> Parity:
    """Compare network and graph on every row.

    Args:
        name: the model's, for the message.
        network: images (n, C, H, W) UINT8, 0 to 255, to probabilities (n, labels).
        graph: the ONNX file exported from it.
        images: (n, C, H, W) UINT8.
        labels: names of the classes.

    Raises:
        ReleaseRefused: a probability differs by more than TOLERANCE, a label flips, or the
            graph does not take any number of rows; the message names the rows.
    """
    wanted = _network_answers(network, images)
    got = _graph_answers(name, graph, images)
    if got.shape != wanted.shape:
        _refuse(name, f"the graph answers {got.shape}, the network {wanted.shape}")
    difference = np.abs(got.astype(np.float64) - wanted).max(axis=1)
    # A NaN is no small difference.
    far = np.flatnonzero(~(difference <= TOLERANCE))
    before, after = wanted.argmax(axis=1), got.argmax(axis=1)
    flipped = np.flatnonzero(before != after)
    flips = [f"row {r} '{labels[before[r]]}' -> '{labels[after[r]]}'" for r in flipped[:5]]
    if len(far) or len(flipped):
        _refuse(
            name,
            f"{len(far)} of {len(images)} test rows differ by more than {TOLERANCE:g} "
            f"(rows {_some(far)}; largest difference {difference.max():.3g}), and "
            f"{len(flipped)} labels flip ({'; '.join(flips) or 'none'})",
        )
    largest = float(difference.max())
    return Parity(rows=len(images), max_abs_difference=largest, label_flips=0, tolerance=TOLERANCE)


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


def _some(rows: NDArray[np.intp]) -> str:
    shown = ", ".join(str(row) for row in rows[:10])
    return f"{shown}, ..." if len(rows) > 10 else shown or "none"


def _refuse(name: str, what: str) -> NoReturn:
    raise ReleaseRefused(
        f"{name}: {what}. Nothing was stored. Look for layers that behave differently when "
        "exported (dropout, sampling, data-dependent shapes), mend the network, release again."
    )
