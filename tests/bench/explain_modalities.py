"""Tables, texts and sequences explained by us and by upstream's lime, turn by turn.

  python tests/bench/explain_modalities.py               5 rounds of each, about 1 minute
  python tests/bench/explain_modalities.py --rounds 15   for figures that are to be quoted

Both are given the same model, samples and seed, and must answer with the same bits; upstream's
explainer is built beforehand. `floor` is
ONNX Runtime alone on the same rows at its best batch. Memory is the peak of what numpy and
Python allocate while an explanation is made, traced in a run of its own.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
from lime.lime_tabular import LimeTabularExplainer, RecurrentTabularExplainer
from lime.lime_text import LimeTextExplainer
from numpy.typing import NDArray
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.explain.background import TableBackground
from service.explain.feature_explanation import FeatureExplanation
from service.explain.sequence import (
    SegmentsConfig,
    explain_segments,
    explain_steps,
    steps_background,
)
from service.explain.table import TableConfig, explain_table
from service.explain.text import TextConfig, explain_text

N = 5000
DRAW = np.random.default_rng(0)
BATCHES = (32, 128, 512, 1024, 5000)


@dataclass
class Case:
    """Two ways to the same explanation; `floor` None = the model is no ONNX graph."""

    name: str
    ours: Callable[[], FeatureExplanation]
    theirs: Callable[[], Any]
    floor: Callable[[], object] | None = None
    same_bits: bool = True


def session(nodes: list[Any], constants: dict[str, NDArray[Any]], shape: list[Any]) -> Any:
    """A graph from `x` to `y`, float32, on all cores."""
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    # As the service opens them: spinning threads take the cores that the rest needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def weights(*shape: int) -> NDArray[np.float32]:
    """Random ones of a sound size."""
    return (DRAW.normal(size=shape) / np.sqrt(np.prod(shape) / max(shape))).astype(np.float32)


def perceptron(columns: int) -> Any:
    """columns -> 64 -> 64 -> 3 probabilities."""
    nodes, at = [], "x"
    for layer in range(3):
        last = layer == 2
        nodes.append(helper.make_node("MatMul", [at, f"w{layer}"], [f"h{layer}"]))
        nodes.append(
            helper.make_node(
                "Softmax" if last else "Relu", [f"h{layer}"], ["y" if last else f"r{layer}"]
            )
        )
        at = f"r{layer}"
    sizes = [(columns, 64), (64, 64), (64, 3)]
    constants = {f"w{layer}": weights(*size) for layer, size in enumerate(sizes)}
    return session(nodes, constants, ["n", columns])


def convolutions(steps: int, channels: int) -> Any:
    """Three convolutions over time of 32 filters, mean over time, 3 probabilities."""
    nodes = [helper.make_node("Transpose", ["x"], ["r0"], perm=[0, 2, 1])]
    for layer in range(1, 4):
        nodes.append(
            helper.make_node("Conv", [f"r{layer - 1}", f"w{layer}"], [f"h{layer}"], pads=[2, 2])
        )
        nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"r{layer}"]))
    nodes.append(helper.make_node("ReduceMean", ["r3"], ["mean"], axes=[2], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "out"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["y"]))
    constants = {
        "w1": weights(32, channels, 5), "w2": weights(32, 32, 5), "w3": weights(32, 32, 5),
        "out": weights(32, 3) * 20,
    }  # fmt: skip
    return session(nodes, constants, ["n", steps, channels])


def batched(model: Any, batch: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Any number of rows, so many at a time, whatever their type."""

    def predict(rows: NDArray[Any]) -> NDArray[np.float32]:
        parts = [
            model.run(None, {"x": np.ascontiguousarray(rows[at : at + batch], np.float32)})[0]
            for at in range(0, len(rows), batch)
        ]
        return np.concatenate(parts)

    return predict


def best_batch(model: Any, rows: NDArray[np.float32]) -> int:
    """The batch at which these rows take least."""
    return min(BATCHES, key=lambda batch: seconds(lambda: batched(model, batch)(rows), 3))


def table(columns: int, num_features: int) -> Case:
    """Quartiles of normal columns."""
    model = perceptron(columns)
    data = DRAW.normal(size=(2000, columns))
    batch = best_batch(model, data.astype(np.float32).repeat(3, axis=0)[:N])
    background = TableBackground.fit(data)
    predict = batched(model, batch)
    rows = DRAW.normal(size=(N, columns)).astype(np.float32)
    upstream = LimeTabularExplainer(data, random_state=0)
    return Case(
        f"table, {columns} columns, top {num_features}",
        lambda: explain_table(
            data[0],
            predict,
            background,
            TableConfig(num_samples=N, num_features=num_features, batch_size=batch),
            dtype=np.float32,
        ),
        lambda: upstream.explain_instance(
            data[0], predict, top_labels=1, num_features=num_features, num_samples=N
        ),
        lambda: predict(rows),
    )


def text(bag: bool, model: str) -> Case:
    """200 words of 5 letters, scored by weights of words, or by next to nothing."""
    words = ["".join(DRAW.choice(list("abcdefghijklmnop"), 5)) for _ in range(200)]
    value = dict(zip(words, DRAW.normal(size=200).tolist(), strict=True))

    def by_words(texts: list[str]) -> NDArray[np.float64]:
        sums = np.array([sum(value.get(word, 0.0) for word in one.split()) for one in texts])
        return np.stack([1 / (1 + np.exp(-sums / 5)), 1 / (1 + np.exp(sums / 5))], axis=1)

    def by_length(texts: list[str]) -> NDArray[np.float64]:
        share = np.array([len(one) % 7 for one in texts]) / 7
        return np.stack([share, 1 - share], axis=1)

    predict = {"word weights": by_words, "free model": by_length}[model]
    line = " ".join(words)
    return Case(
        f"text, 200 words, {'bag' if bag else 'in order'}, {model}",
        lambda: explain_text(line, predict, TextConfig(num_samples=N, bag=bag)),
        lambda: LimeTextExplainer(random_state=0, bow=bag).explain_instance(
            line, predict, top_labels=1, num_samples=N
        ),
    )


def sequence(way: str) -> Case:
    """Windows of 100 steps and 3 channels."""
    model = convolutions(100, 3)
    windows = DRAW.normal(size=(500, 100, 3)).cumsum(axis=1)
    rows = DRAW.normal(size=(N, 100, 3)).astype(np.float32)
    batch = best_batch(model, rows)
    background = steps_background(windows)
    predict = batched(model, batch)
    names = [f"channel {channel}" for channel in range(3)]
    window = windows[0].astype(np.float32)
    upstream = RecurrentTabularExplainer(windows, feature_names=names, random_state=0)
    ours = {
        "steps": lambda: explain_steps(
            windows[0],
            predict,
            background,
            TableConfig(num_samples=N, batch_size=batch),
            dtype=np.float32,
        ),
        "segments": lambda: explain_segments(
            window, predict, SegmentsConfig(num_samples=N, batch_size=batch)
        ),
    }
    return Case(
        f"sequence 100x3, {way}",
        ours[way],
        lambda: upstream.explain_instance(windows[0], predict, top_labels=1, num_samples=N),
        lambda: predict(rows),
        same_bits=way == "steps",
    )


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """The least of so many calls."""
    found = []
    for _ in range(times):
        began = perf_counter()
        call()
        found.append(perf_counter() - began)
    return min(found)


def peak(call: Callable[[], object]) -> float:
    """Bytes allocated at once while this runs, beyond those before."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most - before


def check(case: Case) -> None:
    """Refuse to time two different answers; upstream's first call is the one of its seed."""
    ours, theirs = case.ours().of(), case.theirs()
    found = [(int(feature), float(weight)) for feature, weight in theirs.local_exp[ours.label]]
    if case.same_bits and list(ours.weights) != found:
        raise SystemExit(f"{case.name}: the weights differ, {ours.weights[:2]} and {found[:2]}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; default 5")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    makers: list[Callable[[], Case]] = [
        lambda: table(30, 5),
        lambda: table(30, 10),
        lambda: table(8, 8),
        lambda: text(True, "free model"),
        lambda: text(True, "word weights"),
        lambda: text(False, "word weights"),
        lambda: sequence("steps"),
        lambda: sequence("segments"),
    ]
    report = Table(
        "explanation",
        "ours ms",
        "lime ms",
        "faster",
        "floor ms",
        "ours/floor",
        "lime/floor",
        "memory",
    )
    for make in makers:
        case = make()
        if options.only not in case.name:
            continue
        check(case)
        turns = [
            (
                seconds(case.ours),
                seconds(case.theirs),
                seconds(case.floor) if case.floor else 0.0,
            )
            for _ in range(options.rounds)
        ]
        ours, theirs, floor = (1e3 * median(column) for column in zip(*turns, strict=True))
        report.add_row(
            case.name,
            f"{ours:.1f}",
            f"{theirs:.1f}",
            f"{theirs / ours:.1f}x",
            *(
                [f"{floor:.1f}", f"{ours / floor:.2f}x", f"{theirs / floor:.2f}x"]
                if case.floor
                else ["-"] * 3
            ),
            f"{peak(case.ours) / peak(case.theirs):.2f}x",
        )
    report.title = (
        f"N = {N}, medians of {options.rounds} turns, the same bits where ways are the same"
    )
    Console(width=120 if not sys.stdout.isatty() else None).print(report)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
