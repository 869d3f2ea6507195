"""Detectors that are built by hand in a moment, whose scores can be worked on paper.

Each rebuilds its input as the input's mean: of a window sensor by sensor, of a picture all over.
The error is the squared distance from it, the score the mean error.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from service.anomaly.reference import reference, to_npy
from service.anomaly.verdict import calibrated
from service.manifest import (
    Adaptive,
    ExplainerDefaults,
    Graph,
    ImageMedia,
    Manifest,
    RateBudget,
    Tensor,
)
from service.store import ModelStore, StoredModel
from tests.unmeasured import PARITY, PROVENANCE

SENSORS = ("pressure", "heat")
STEPS, SIDE = 6, 16
WINDOW = Tensor(
    name="window", datatype="FP32", shape=(-1, STEPS, 2), features=SENSORS, range=(-1e3, 1e3)
)
MEDIA = ImageMedia(input="image", color="L", width=SIDE, height=SIDE)
PICTURE = Tensor(name="image", datatype="UINT8", shape=(-1, 1, SIDE, SIDE), range=(0, 255))
#: Normal scores that the detectors are calibrated on.
CALIBRATED = 500


def normal_windows(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Windows (rows, STEPS, 2) without anomalies."""
    return np.random.default_rng(seed).normal(size=(rows, STEPS, 2)).astype(np.float32)


def normal_pictures(rows: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (rows, 1, SIDE, SIDE) without anomalies: grey, with some noise."""
    random = np.random.default_rng(seed)
    return random.integers(100, 150, size=(rows, 1, SIDE, SIDE)).astype(np.uint8)


def release_detectors(home: Path) -> None:
    """Put `windows` and `pictures` into a home, each with a budget of 2 %."""
    release_detector(home, "windows")
    release_detector(home, "pictures")


def release_detector(
    home: Path, name: str, rate: float = 0.02, adaptive: Adaptive | None = None,
    level: str = "ReduceMean", **changes: Any,
) -> StoredModel:  # fmt: skip
    """Put one into a home; `level` is what takes means, `changes` are fields of its manifest."""
    folder = home / "built"
    folder.mkdir(parents=True, exist_ok=True)
    files = {"model.onnx": folder / f"{name}.onnx", "calibration.npy": folder / f"{name}.npy"}
    picture = name == "pictures"
    onnx.save(_graph(picture, level), files["model.onnx"])
    tensor = PICTURE if picture else WINDOW
    session = ort.InferenceSession(files["model.onnx"], providers=["CPUExecutionProvider"])
    rows = normal_pictures(CALIBRATED) if picture else normal_windows(CALIBRATED)
    scores = reference(session.run(["score"], {tensor.name: rows})[0])
    files["calibration.npy"].write_bytes(to_npy(scores))
    calibration = calibrated(scores, RateBudget(rate=rate), adaptive=adaptive)
    parts = {
        file: Graph(file=file, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for file, path in files.items()
    }
    store = ModelStore(home)
    fields: dict[str, Any] = {
        "name": name,
        "version": store.next_version(name),
        "family": "autoencoder",
        "task": "anomaly",
        "graphs": {"predict": parts["model.onnx"]},
        "assets": {"calibration": parts["calibration.npy"]},
        "inputs": (tensor,),
        "outputs": outputs(picture),
        "media": MEDIA if picture else None,
        "evidence": {"error": "reconstruction-error"},
        "explainer": ExplainerDefaults(
            modality="image" if picture else "sequence", num_samples=200
        ),
        "calibration": calibration,
        "parity": PARITY,
        "provenance": PROVENANCE,
    }
    return store.put(Manifest(**(fields | changes)), files)


def outputs(picture: bool) -> tuple[Tensor, ...]:
    """What a detector's graph gives."""
    shape = PICTURE.shape if picture else WINDOW.shape
    error = (-1, SIDE, SIDE) if picture else shape
    latent = SIDE if picture else 2
    return (
        Tensor(name="score", datatype="FP32", shape=(-1, 1), unit="score", features=("score",)),
        Tensor(name="error", datatype="FP32", shape=error),
        Tensor(name="reconstruction", datatype="FP32", shape=shape),
        Tensor(name="latent", datatype="FP32", shape=(-1, latent)),
    )


def _graph(picture: bool, level: str) -> onnx.ModelProto:
    """See the module; the latent vector is a picture's mean of each row, a window's mean."""
    kind = TensorProto.UINT8 if picture else TensorProto.FLOAT
    source = PICTURE if picture else WINDOW
    nodes = [
        helper.make_node("Cast", [source.name], ["values"], to=TensorProto.FLOAT),
        helper.make_node(level, ["values", "axes"], ["level"], keepdims=1),
        helper.make_node("Sub", ["values", "level"], ["missed"]),
        helper.make_node("Sub", ["values", "missed"], ["reconstruction"]),
        helper.make_node("Mul", ["missed", "missed"], ["squared"]),
        helper.make_node(
            "Squeeze" if picture else "Identity",
            ["squared", "channel"] if picture else ["squared"], ["error"],
        ),
        helper.make_node(level, ["error", "all"], ["flat"], keepdims=0),
        helper.make_node("Unsqueeze", ["flat", "channel"], ["score"]),
        helper.make_node(level, ["values", "seen"], ["latent"], keepdims=0),
    ]  # fmt: skip
    axes = {
        "axes": [2, 3] if picture else [1],
        "channel": [1],
        "all": [1, 2],
        "seen": [1, 3] if picture else [1],
    }
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info(source.name, kind, ["n", *source.shape[1:]])],
        [
            helper.make_tensor_value_info(one.name, TensorProto.FLOAT, ["n", *one.shape[1:]])
            for one in outputs(picture)
        ],
        [
            helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
            for name, values in axes.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
