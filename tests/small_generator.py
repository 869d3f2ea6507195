"""Generators that are built by hand in a moment; what they draw can be worked on paper."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from service.manifest import Graph, Manifest, Tensor
from service.store import ModelStore
from tests.unmeasured import PARITY, PROVENANCE

#: Numbers of noise, and extents of a picture.
NOISE, SIDE = 3, 4
LABELS = ("dark", "grey", "bright")


def weights() -> NDArray[np.float32]:
    """(NOISE, SIDE * SIDE) that noise is multiplied by."""
    return np.random.default_rng(0).normal(size=(NOISE, SIDE**2)).astype(np.float32)


def levels() -> NDArray[np.float32]:
    """(labels, 1) that each label adds."""
    return np.array([[-4.0], [0.0], [4.0]], np.float32)


def drawn(
    noise: NDArray[np.float32], label: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """What the generators answer: sigmoid(noise @ weights + level of the label)."""
    logits = noise @ weights()
    if label is not None:
        logits = logits + levels()[label]
    return (1 / (1 + np.exp(-logits))).reshape(-1, 1, SIDE, SIDE).astype(np.float32)


def generator_manifest(conditional: bool = False, pictures: bool = True) -> Manifest:
    """What they promise, without their files."""
    noise = Tensor(
        name="noise", datatype="FP32", shape=(-1, NOISE), range=(-10.0, 10.0),
        unit="standard deviation",
    )  # fmt: skip
    label = Tensor(name="label", datatype="INT64", shape=(-1,), range=(0.0, len(LABELS) - 1))
    shape = (-1, 1, SIDE, SIDE) if pictures else (-1, SIDE**2)
    return Manifest(
        name="sketches",
        version="1",
        family="gan",
        task="generate",
        graphs={"predict": Graph(file="predict.onnx", sha256="0" * 64)},
        inputs=(noise, label) if conditional else (noise,),
        outputs=(Tensor(name="image", datatype="FP32", shape=shape, range=(0.0, 1.0)),),
        labels=LABELS if conditional else (),
        parity=PARITY,
        provenance=PROVENANCE,
    )


def release_small_generators(home: Path) -> None:
    """`sketches`, `told` (conditional) and `numbers` (whose answers are no pictures)."""
    _release(home, "sketches", conditional=False, pictures=True)
    _release(home, "told", conditional=True, pictures=True)
    _release(home, "numbers", conditional=False, pictures=False)


def _release(home: Path, name: str, *, conditional: bool, pictures: bool) -> None:
    path = home / f"{name}.onnx"
    path.write_bytes(_graph(conditional, pictures))
    part = Graph(file="predict.onnx", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    manifest = generator_manifest(conditional, pictures)
    manifest = manifest.model_copy(update={"name": name, "graphs": {"predict": part}})
    ModelStore(home).put(manifest, {"predict.onnx": path})


def _graph(conditional: bool, pictures: bool) -> bytes:
    constants = [
        helper.make_tensor("weights", TensorProto.FLOAT, weights().shape, weights().ravel()),
        helper.make_tensor("levels", TensorProto.FLOAT, levels().shape, levels().ravel()),
        helper.make_tensor("shape", TensorProto.INT64, [4 if pictures else 2],
                           [-1, 1, SIDE, SIDE] if pictures else [-1, SIDE**2]),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["n", NOISE])]
    nodes = [helper.make_node("MatMul", ["noise", "weights"], ["drawn"])]
    if conditional:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
        nodes += [
            helper.make_node("Gather", ["levels", "label"], ["level"]),
            helper.make_node("Add", ["drawn", "level"], ["logits"]),
        ]
    last = "logits" if conditional else "drawn"
    nodes += [
        helper.make_node("Sigmoid", [last], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    shape = ["n", 1, SIDE, SIDE] if pictures else ["n", SIDE**2]
    output = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "generator", inputs, [output], constants)
    opset = helper.make_opsetid("", 20)
    return onnx.ModelProto.SerializeToString(
        helper.make_model(graph, opset_imports=[opset], ir_version=10)
    )
