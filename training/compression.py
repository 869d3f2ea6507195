"""The same network in fewer bits: released only where it answers nearly as well as in FP32."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from service.errors import ReleaseRefused
from service.inference.session import Session
from service.manifest import Compression
from service.store import StoredModel
from training.candidate import Candidate, Rows, rows_of, some_rows
from training.half import ahead_of_weights, halve

#: What is computed in INT8 where both sides of it are; scaling and softmax stay in FP32.
COMPUTED = (
    "Conv", "Gemm", "MatMul", "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Add", "Concat",
)  # fmt: skip
#: Training rows that ranges are taken from.
CALIBRATED = 512
#: Accuracy that may be lost, of 1, and the share by which an error may grow.
LOST, GROWN = 0.005, 0.01
#: Rows together, seconds and fewest runs, by which the speed is measured.
BATCH, SECONDS, FEWEST = 32, 0.25, 4


def compress(candidate: Candidate, graph: Path) -> None:
    """Rewrite an FP32 graph in the precision that the candidate asks for.

    Raises:
        ReleaseRefused: there are no rows to take ranges from, or nothing can be computed in INT8.
    """
    if candidate.precision == "fp16":
        halve(graph)
    elif candidate.precision == "int8":
        quantise(candidate, graph)


def quantise(candidate: Candidate, graph: Path) -> None:
    """Rewrite an ONNX file so that it computes in INT8, where that is possible.

    Static, in the QDQ form, weights by channel. Weights have 7 bits: processors without VNNI
    add two products in 16, which 8 bits would overflow.
    Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", arXiv:1712.05877.

    Raises:
        ReleaseRefused: see `compress`.
    """
    prepared = graph.with_name("prepared.onnx")
    with _quiet():
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        scaling = ahead_of_weights(onnx.load(prepared).graph)
        quantize_static(
            str(prepared),
            str(graph),
            _Rows(_calibration(candidate)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(COMPUTED),
            nodes_to_exclude=[node.name for node in scaling],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    prepared.unlink()
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(graph).graph.node):
        _refuse(candidate, "nothing in its graph can be computed in INT8")


def compared(
    candidate: Candidate, small: StoredModel, full: StoredModel, scores: tuple[float, float]
) -> Compression:
    """Hold a compressed graph against the FP32 one.

    Args:
        candidate: what asks to be released.
        small, full: the same network compressed, and in FP32.
        scores: of `small` and of `full` on the test rows, by `metric_of`.

    Raises:
        ReleaseRefused: it loses more than LOST, or its error grows by more than GROWN.
    """
    score, fp32_score = scores
    metric, better = metric_of(candidate)
    size, fp32_size = (one.graph().stat().st_size for one in (small, full))
    speed, fp32_speed = speeds(candidate.blocks[0], small, full)
    if better == "high":
        # Differences of rates are not exact: what is just half a point may be lost.
        worse, said = fp32_score - score > LOST + 1e-9, f"by more than {100 * LOST:g} points"
    else:
        worse, said = score > fp32_score * (1 + GROWN), f"by more than {100 * GROWN:g} %"
    # A NaN is no good score.
    if worse or not np.isfinite(score):
        _refuse(
            candidate,
            f"in {candidate.precision} its {metric} on the test rows is {score:.6g}, in FP32 "
            f"{fp32_score:.6g}: worse {said}. ({size} bytes beside {fp32_size}, "
            f"{speed:.0f} rows a second beside {fp32_speed:.0f}.)",
        )
    return Compression(
        metric=metric,
        score=score,
        fp32_score=fp32_score,
        bytes=size,
        fp32_bytes=fp32_size,
        batch=min(BATCH, rows_of(candidate.blocks[0])),
        rows_per_second=speed,
        fp32_rows_per_second=fp32_speed,
    )


def metric_of(candidate: Candidate) -> tuple[str, str]:
    """The metric that a compressed graph is judged by, and whether `high` or `low` is good."""
    if candidate.task == "anomaly":
        return "auroc", "high"
    return (candidate.measured[0], "high") if candidate.task == "classify" else ("rmse", "low")


def speeds(block: Rows, *models: StoredModel) -> list[float]:
    """Rows a second of each model on one CPU thread, in batches of BATCH, the best of many runs.

    Seconds of the processor: with one thread the graph runs on this one, and what others do on
    a busy machine is not counted.
    """
    feed = some_rows(block, slice(BATCH))
    sessions = [Session(model, device="cpu") for model in models]
    best = [float("inf")] * len(sessions)
    until, rounds = time.thread_time() + SECONDS * len(sessions), 0
    while time.thread_time() < until or rounds < FEWEST:
        rounds += 1
        for at, session in enumerate(sessions):
            start = time.thread_time()
            session.run(feed)
            best[at] = min(best[at], time.thread_time() - start)
    return [rows_of(feed) / max(seconds, 1e-9) for seconds in best]


def _calibration(candidate: Candidate) -> list[Rows]:
    """Rows to take ranges from: of the training part, else of the validation part."""
    if candidate.calibration is not None:
        blocks: tuple[Rows, ...] = (candidate.calibration,)
    elif candidate.validation is not None:
        blocks = candidate.validation.blocks
    else:
        _refuse(candidate, "its script gives no training rows to take the ranges of INT8 from")
    each = max(1, CALIBRATED // len(blocks))
    taken: list[Rows] = []
    for block in blocks:
        rows = np.linspace(0, rows_of(block) - 1, min(each, rows_of(block))).astype(np.intp)
        taken += [some_rows(block, part) for part in np.split(rows, range(64, len(rows), 64))]
    return taken


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: list[Rows]) -> None:
        self._left: Iterator[Rows] = iter(batches)

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """The next batch; None behind the last one."""
        return next(self._left, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantisation tells each tensor that it leaves alone on the root logger."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def copied(graph: Path, name: str) -> Path:
    """A copy of a graph beside it, under another name."""
    return Path(shutil.copyfile(graph, graph.with_name(name)))


def _refuse(candidate: Candidate, what: str) -> NoReturn:
    raise ReleaseRefused(
        f"{candidate.name}: {what}. Nothing was stored. Release it in FP32, or train it further."
    )
