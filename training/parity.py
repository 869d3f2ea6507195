"""The gate every release passes: the exported graph answers as the trained network does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from service.policy import ACTION_NUMBER
from service.tasks.anomaly import ANOMALY, NORMAL
from training.candidate import Candidate, Rows, rows_of, some_rows
from training.lessons import one_thread

#: All outputs of a block of rows, in the candidate's order.
Answers = Sequence[NDArray[Any]]


class Allowed(NamedTuple):
    """Largest difference of a probability, and share of the rows whose label may flip.

    A value of another kind may differ by as much of the largest magnitude among the rows.
    """

    difference: float
    flips: float


#: FP16 has 11 significant bits, a relative error of 5e-4 in each step; over the depth of a
#: network some of that adds up. A label flips only between classes nearly equal in probability.
#: INT8 is judged by what it does to the accuracy (`compression.py`); how far it is off is measured.
ALLOWED: dict[Precision, Allowed] = {
    "fp32": Allowed(1e-5, 0),
    "fp16": Allowed(5e-3, 0.01),
    "int8": Allowed(1.0, 1.0),
}
#: Values of the inputs that the reference evaluator sees: it takes seconds for so many.
REFERENCE_VALUES = 400_000
#: The graph is traced with 2 rows and has to be right for any number.
BATCHES = (1, 3, 8, 17)
#: Rows go through the network in batches of so many values, some eight photographs: they stay
#: in the cache; sixty-four took three times as long.
CACHED_VALUES = 1_250_000


def network_answers(network: nn.Module, block: Rows) -> list[NDArray[Any]]:
    """All outputs of a torch network for a block of rows, in its order."""
    network = network.eval().cpu()
    size = max(8, CACHED_VALUES // max(1, _values_a_row(block)))
    return _in_batches(lambda rows: _network_answers(network, rows), block, cycle([size]))


def check(candidate: Candidate, graph: Path, limit: float | None = None) -> Parity:
    """Compare network and graph on every row and in every output.

    Args:
        candidate: its network is in FP32, whatever its precision is to be.
        graph: the ONNX file exported from it.
        limit: the score above which a row is an anomaly; None where none is.

    Returns:
        How far the first output is off, in its own unit; how many labels or actions flipped.

    Raises:
        ReleaseRefused: a value differs by more than is ALLOWED, more labels or verdicts flip, or
            the graph does not take any number of rows; the message names the rows.
    """
    session = _session(candidate, graph)
    names = [tensor.name for tensor in candidate.outputs]

    def by_graph(rows: Rows) -> Answers:
        return [np.asarray(values) for values in session.run(names, dict(rows))]

    found = [_Output(candidate, at, limit) for at in range(len(names))]
    for block in candidate.blocks:
        wanted = network_answers(candidate.network, block)
        got = _in_batches(by_graph, block, cycle(BATCHES))
        half = _half_answers(candidate, graph, block) if candidate.precision == "fp16" else None
        for at, output in enumerate(found):
            strict = None if half is None else (half[0], half[1][at])
            output.compare(got[at], wanted[at], strict)
    for output in found:
        output.judge()
    return found[0].parity(sum(output.flips for output in found))


class _Output:
    """What is found about one output, block after block."""

    def __init__(self, candidate: Candidate, at: int, limit: float | None) -> None:
        self.candidate = candidate
        self.name = candidate.outputs[at].name
        #: what may flip: the label of a class, the verdict at a limit, the action that is named;
        #: none of other outputs
        self.labels: tuple[str, ...] = ()
        self.limit = limit if at == 0 else None
        if at == 0 and candidate.task == "classify":
            self.labels = candidate.labels
        elif self.limit is not None:
            self.labels = (NORMAL, ANOMALY)
        elif candidate.task == "act" and self.name == ACTION_NUMBER:
            self.labels = candidate.labels
        self.differences: list[NDArray[np.float64]] = []
        self.before: list[NDArray[np.intp]] = []
        self.after: list[NDArray[np.intp]] = []
        #: of the values by the network: what their difference is held against
        self.magnitude = 1.0

    def compare(
        self,
        got: NDArray[Any],
        wanted: NDArray[Any],
        strict: tuple[NDArray[np.intp], NDArray[Any]] | None,
    ) -> None:
        """Hold the graph's answers to a block against the network's; `strict` to some rows."""
        if got.shape != wanted.shape:
            _refuse(
                self.candidate.name,
                f"output '{self.name}': the graph answers {got.shape}, the network {wanted.shape}",
            )
        difference = _difference(got, wanted)
        if self.candidate.task != "classify" or not self.labels:
            self.magnitude = max(self.magnitude, float(np.abs(wanted).max(initial=0)))
        before, after = self._decided(wanted), self._decided(got)
        if strict is not None:
            some, values = strict
            difference[some] = np.maximum(difference[some], _difference(values, wanted[some]))
            if self.labels:
                strictly = self._decided(values)
                after[some] = np.where(strictly == before[some], after[some], strictly)
        self.differences.append(difference)
        self.before.append(before)
        self.after.append(after)

    def _decided(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Which of `labels` each row is; 0 where nothing is decided."""
        if self.limit is not None:
            return (values.reshape(-1) > np.float32(self.limit)).astype(np.intp)
        if self.name == ACTION_NUMBER:
            return values.astype(np.intp)
        return values.argmax(axis=-1) if self.labels else np.zeros(len(values), np.intp)

    @property
    def tolerance(self) -> float:
        return ALLOWED[self.candidate.precision].difference * self.magnitude

    def judge(self) -> None:
        """Refuse what is further off than is allowed."""
        difference = np.concatenate(self.differences)
        before, after = np.concatenate(self.before), np.concatenate(self.after)
        # A NaN is no small difference.
        far = np.flatnonzero(~(difference <= self.tolerance))
        flipped = np.flatnonzero(before != after)
        may_flip = ALLOWED[self.candidate.precision].flips * len(difference)
        if not len(far) and len(flipped) <= may_flip:
            return
        what = (
            f"{len(far)} of {len(difference)} test rows differ by more than {self.tolerance:g} "
            f"in output '{self.name}' (rows {_some(far)}; largest difference "
            f"{difference.max():.3g})"
        )
        if self.labels:
            flips = [
                f"row {r} '{self.labels[before[r]]}' -> '{self.labels[after[r]]}'"
                for r in flipped[:5]
            ]
            kind = {"act": "actions", "anomaly": "verdicts"}.get(self.candidate.task, "labels")
            what += f", and {len(flipped)} {kind} flip ({'; '.join(flips) or 'none'})"
        _refuse(self.candidate.name, what)

    @property
    def flips(self) -> int:
        """Rows whose label or action is another one."""
        return int((np.concatenate(self.before) != np.concatenate(self.after)).sum())

    def parity(self, flips: int) -> Parity:
        difference = np.concatenate(self.differences)
        return Parity(
            rows=len(difference),
            max_abs_difference=float(difference.max()),
            label_flips=flips,
            tolerance=self.tolerance,
        )


def _in_batches(answer: Callable[[Rows], Answers], block: Rows, sizes: Any) -> list[NDArray[Any]]:
    parts, start = [], 0
    while start < rows_of(block):
        size = next(sizes)
        parts.append(answer(some_rows(block, slice(start, start + size))))
        start += size
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _network_answers(network: nn.Module, rows: Mapping[str, NDArray[Any]]) -> Answers:
    with torch.inference_mode(), one_thread():
        answer = network(*(torch.from_numpy(np.ascontiguousarray(v)) for v in rows.values()))
    return [t.numpy() for t in (answer if isinstance(answer, tuple | list) else (answer,))]


def _session(candidate: Candidate, graph: Path) -> ort.InferenceSession:
    """The graph, whose inputs have the names and the free axes that they should have."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A graph whose extents were frozen says so with every run; it is refused in one message.
    options.log_severity_level = 3
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    if set(inputs) != set(candidate.graph_inputs):
        _refuse(
            candidate.name,
            f"the graph takes {sorted(inputs)}, the network {sorted(candidate.graph_inputs)}: "
            "an input that decides nothing is lost in the export",
        )
    for name, shape in inputs.items():
        for axis, what in {0: "rows", **candidate.free.get(name, {})}.items():
            if isinstance(shape[axis], int):
                _refuse(
                    candidate.name,
                    f"the graph takes exactly {shape[axis]} {what}, not any number, in input "
                    f"'{name}'",
                )
    return session


def _half_answers(
    candidate: Candidate, graph: Path, block: Rows
) -> tuple[NDArray[np.intp], Answers]:
    """What a graph answers where every value is rounded to FP16, as it is on a GPU.

    ONNX Runtime's CPU kernels keep FP32 from one step to the next, so that on a CPU nothing
    overflows and little is lost. The reference evaluator of ONNX does as the graph says, slowly:
    it sees as many rows, evenly spread, as have REFERENCE_VALUES over all blocks.

    Returns:
        The rows, and the answers to them.
    """
    affordable = REFERENCE_VALUES // len(candidate.blocks) // max(1, _values_a_row(block))
    count = min(rows_of(block), max(2, affordable))
    rows = np.linspace(0, rows_of(block) - 1, count).astype(np.intp)
    names = [tensor.name for tensor in candidate.outputs]
    with np.errstate(all="ignore"):  # what overflows is found by the comparison
        answers: Any = ReferenceEvaluator(str(graph)).run(names, some_rows(block, rows))
    return rows, [np.asarray(values, np.float32) for values in answers]


def _values_a_row(block: Rows) -> int:
    return sum(int(array[0].size) for array in block.values())


def _difference(got: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Largest difference in each row."""
    apart = np.abs(got.astype(np.float64) - wanted).reshape(len(got), -1)
    largest: NDArray[np.float64] = apart.max(axis=1, initial=0)
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
