"""A linear autoencoder of windows 60 x 8 for benches of streams, made in a second without torch.

It rebuilds windows from their first 16 principal components (fitted on noise that eight sensors
share, so that it is no toy in cost or shape), in the form of a detector: score, error, and so on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.anomaly.reference import reference, to_npy
from service.anomaly.verdict import calibrated
from service.manifest import (
    ExplainerDefaults,
    Graph,
    Manifest,
    RateBudget,
    Tensor,
)
from service.store import ModelStore, StoredModel
from tests.unmeasured import PARITY, PROVENANCE

STEPS, WIDTH, LATENT, FITTED = 60, 8, 16, 3000
SENSORS = tuple(f"sensor{at}" for at in range(1, WIDTH + 1))


def rows(count: int, seed: int) -> NDArray[np.float32]:
    """(count, 8): slow waves that all sensors share, and noise of each."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, (3, 1)) + np.arange(count) / random.uniform(5, 40, (3, 1))
    mixed = np.sin(phase).T @ np.random.default_rng(7).normal(size=(3, WIDTH))
    return (mixed + 0.3 * random.normal(size=(count, WIDTH))).astype(np.float32)


def windows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n - 59, 60, 8): the window that ends at each row."""
    cut = np.lib.stride_tricks.sliding_window_view(values, STEPS, axis=0)
    return np.ascontiguousarray(cut.transpose(0, 2, 1))


def release(home: Path, name: str = "line") -> StoredModel:
    """Put the detector into a home."""
    folder = home / "built"
    folder.mkdir(parents=True, exist_ok=True)
    flat = windows(rows(FITTED, 1)).reshape(-1, STEPS * WIDTH).astype(np.float64)
    mean = flat.mean(axis=0)
    axes = np.linalg.svd(flat - mean, full_matrices=False)[2][:LATENT]
    path = folder / "line.onnx"
    onnx.save(_graph(mean.astype(np.float32), axes.T.astype(np.float32)), path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores = reference(session.run(["score"], {"window": windows(rows(FITTED, 2))})[0])
    (folder / "line.npy").write_bytes(to_npy(scores))
    files = {"model.onnx": path, "calibration.npy": folder / "line.npy"}
    parts = {
        file: Graph(file=file, sha256=hashlib.sha256(at.read_bytes()).hexdigest())
        for file, at in files.items()
    }
    store = ModelStore(home)
    shape = (-1, STEPS, WIDTH)
    manifest = Manifest(
        name=name,
        version=store.next_version(name),
        family="autoencoder",
        task="anomaly",
        graphs={"predict": parts["model.onnx"]},
        assets={"calibration": parts["calibration.npy"]},
        inputs=(Tensor(name="window", datatype="FP32", shape=shape, features=SENSORS),),
        outputs=(
            Tensor(name="score", datatype="FP32", shape=(-1, 1), features=("score",)),
            Tensor(name="error", datatype="FP32", shape=shape),
            Tensor(name="reconstruction", datatype="FP32", shape=shape),
            Tensor(name="latent", datatype="FP32", shape=(-1, LATENT)),
        ),
        evidence={"error": "reconstruction-error"},
        explainer=ExplainerDefaults(modality="sequence", num_samples=200),
        calibration=calibrated(scores, RateBudget(rate=0.01)),
        parity=PARITY,
        provenance=PROVENANCE,
    )
    return store.put(manifest, files)


def _graph(mean: NDArray[np.float32], axes: NDArray[np.float32]) -> onnx.ModelProto:
    numbers: dict[str, NDArray[Any]] = {
        "mean": mean, "axes": axes, "back": np.ascontiguousarray(axes.T),
        "flat": np.array([-1, STEPS * WIDTH], np.int64),
        "whole": np.array([-1, STEPS, WIDTH], np.int64), "all": np.array([1, 2], np.int64),
        "one": np.array([1], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Reshape", ["window", "flat"], ["long"]),
        helper.make_node("Sub", ["long", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "axes"], ["latent"]),
        helper.make_node("MatMul", ["latent", "back"], ["rebuilt"]),
        helper.make_node("Add", ["rebuilt", "mean"], ["level"]),
        helper.make_node("Reshape", ["level", "whole"], ["reconstruction"]),
        helper.make_node("Sub", ["window", "reconstruction"], ["missed"]),
        helper.make_node("Mul", ["missed", "missed"], ["error"]),
        helper.make_node("ReduceMean", ["error", "all"], ["mse"], keepdims=0),
        helper.make_node("Unsqueeze", ["mse", "one"], ["score"]),
    ]
    shapes = {"score": [1], "error": [STEPS, WIDTH], "reconstruction": [STEPS, WIDTH],
              "latent": [LATENT]}  # fmt: skip
    graph = helper.make_graph(
        nodes, "line",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", STEPS, WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
            for name, shape in shapes.items()
        ],
        [numpy_helper.from_array(values, name) for name, values in numbers.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
