"""Models that are built by hand in a moment, with answers that can be worked on paper."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from service.explain.background import TableBackground
from service.manifest import ExplainerDefaults, Graph, Manifest, Tensor
from service.store import ModelStore
from tests.unmeasured import PARITY, PROVENANCE

#: Probability of "good" = sigmoid(width - 2 * height), the table's columns.
FEATURES = ("width", "height")
#: Names of the values that these models give.
REGRESSIONS = {"thickness": ("thickness", "zero"), "rebuild": ("width error", "height error")}


def release_small_models(home: Path) -> None:
    """Put small models into a home, each with an explainer.

    `parts` and `thickness` take a table (classify, regress), `flow` windows, `words` text;
    `rebuild` says how far each channel of a window is from its mean, and where.
    """
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
    rebuilt = [
        helper.make_node("ReduceMean", ["x", "moments"], ["level"], keepdims=1),
        helper.make_node("Sub", ["x", "level"], ["missed"]),
        helper.make_node("Mul", ["missed", "missed"], ["error"]),
        helper.make_node("ReduceMean", ["error", "moments"], ["value"], keepdims=0),
    ]
    errors = helper.make_tensor_value_info("error", TensorProto.FLOAT, ["n0", "n1", 2])
    graphs: dict[str, tuple[list[Any], list[Any], int, Tensor]] = {
        "parts": ([cast, *difference], [weights], TensorProto.DOUBLE, _input("FP64", (-1, 2))),
        "flow": ([mean, *difference], [weights, moments], TensorProto.FLOAT,
                 _input("FP32", (-1, -1, 2))),
        "thickness": ([cast, helper.make_node("MatMul", ["rows", "weights"], ["value"])],
                      [weights], TensorProto.DOUBLE, _input("FP64", (-1, 2))),
        "rebuild": (rebuilt, [moments], TensorProto.FLOAT, _input("FP32", (-1, -1, 2))),
        "words": (said, [one], TensorProto.STRING, Tensor(name="x", datatype="BYTES",
                                                          shape=(-1, 1))),
    }  # fmt: skip
    for name, (nodes, constants, kind, tensor) in graphs.items():
        path = folder / f"{name}.onnx"
        shape = [f"n{axis}" if extent < 0 else extent for axis, extent in enumerate(tensor.shape)]
        output = "value" if name in REGRESSIONS else "probabilities"
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", kind, shape)],
            [
                helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n0", 2]),
                *([errors] if name == "rebuild" else []),
            ],
            constants,
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        files = {"model.onnx": path}
        if name in ("parts", "thickness"):
            files["background.json"] = folder / "background.json"
            draw = np.random.default_rng(0).normal((5, 2), (2, 1), (400, 2))
            background = TableBackground.fit(draw, names=FEATURES)
            files["background.json"].write_text(json.dumps(background.to_json()))
        store.put(_manifest(name, files, tensor), files)


def _input(datatype: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor.model_validate(
        {"name": "x", "datatype": datatype, "shape": shape, "features": FEATURES}
    )


def _manifest(name: str, files: dict[str, Path], tensor: Tensor) -> Manifest:
    parts = {
        file: Graph(file=file, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for file, path in files.items()
    }
    graph = parts.pop("model.onnx")
    regression = name in REGRESSIONS
    outputs = [
        Tensor(name="value", datatype="FP32", shape=(-1, 2), features=REGRESSIONS[name])
        if regression
        else Tensor(name="probabilities", datatype="FP32", shape=(-1, 2))
    ]
    if name == "rebuild":
        outputs.append(Tensor(name="error", datatype="FP32", shape=(-1, -1, 2)))
    modality = {"flow": "sequence", "rebuild": "sequence", "words": "text"}.get(name, "table")
    return Manifest(
        name=name,
        version="1",
        family="mlp",
        task="regress" if regression else "classify",
        graphs={"predict": graph},
        assets={role.removesuffix(".json"): part for role, part in parts.items()},
        inputs=(tensor,),
        outputs=tuple(outputs),
        evidence={"error": "reconstruction-error"} if name == "rebuild" else {},
        labels=() if regression else ("good", "bad"),
        explainer=ExplainerDefaults.model_validate({"modality": modality, "num_samples": 500}),
        parity=PARITY,
        provenance=PROVENANCE,
    )
