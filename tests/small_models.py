"""Models that are built by hand in a moment, with answers that can be worked on paper."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from service.manifest import Graph, Manifest, Parity, Provenance, Tensor
from service.store import ModelStore

#: Probability of "good" = sigmoid(width - 2 * height), the table's columns.
FEATURES = ("width", "height")


def release_small_models(home: Path) -> None:
    """Put `parts` (a table), `flow` (windows) and `words` (text) into a home."""
    folder = home / "built"
    folder.mkdir(parents=True, exist_ok=True)
    store = ModelStore(home)
    difference = [
        helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    # Softmax over (z, 0) is the sigmoid of z.
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [2, 2], [1, 0, -2, 0])
    cast = helper.make_node("Cast", ["x"], ["rows"], to=TensorProto.FLOAT)
    mean = helper.make_node("ReduceMean", ["x", "moments"], ["rows"], keepdims=0)
    moments = helper.make_tensor("moments", TensorProto.INT64, [1], [1])
    known = helper.make_node(
        "LabelEncoder", ["x"], ["rows"], domain="ai.onnx.ml", keys_strings=["scratch", "dänt"],
        values_floats=[5.0, 3.0], default_float=-5.0,
    )  # fmt: skip
    one = helper.make_tensor("one", TensorProto.FLOAT, [1, 2], [1, 0])
    said = [
        known,
        helper.make_node("MatMul", ["rows", "one"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graphs: dict[str, tuple[list[Any], list[Any], int, Tensor]] = {
        "parts": ([cast, *difference], [weights], TensorProto.DOUBLE, _input("FP64", (-1, 2))),
        "flow": ([mean, *difference], [weights, moments], TensorProto.FLOAT,
                 _input("FP32", (-1, -1, 2))),
        "words": (said, [one], TensorProto.STRING, Tensor(name="x", datatype="BYTES",
                                                          shape=(-1, 1))),
    }  # fmt: skip
    for name, (nodes, constants, kind, tensor) in graphs.items():
        path = folder / f"{name}.onnx"
        shape = [f"n{axis}" if extent < 0 else extent for axis, extent in enumerate(tensor.shape)]
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n0", 2])],
            constants,
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        store.put(_manifest(name, path, tensor), {"model.onnx": path})


def _input(datatype: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor.model_validate(
        {"name": "x", "datatype": datatype, "shape": shape, "features": FEATURES}
    )


def _manifest(name: str, graph: Path, tensor: Tensor) -> Manifest:
    return Manifest(
        name=name,
        version="1",
        family="mlp",
        task="classify",
        graphs={
            "predict": Graph(
                file="model.onnx", sha256=hashlib.sha256(graph.read_bytes()).hexdigest()
            )
        },
        inputs=(tensor,),
        outputs=(Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),),
        labels=("good", "bad"),
        parity=Parity(rows=1, max_abs_difference=0.0, label_flips=0, tolerance=1e-5),
        provenance=Provenance(
            script="none", config={}, seed=0, git_revision="none",
            trained_at="2026-01-01T00:00:00Z", seconds=0, data={}, libraries={}, environment={},
        ),
    )  # fmt: skip
