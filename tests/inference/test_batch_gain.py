"""Requests are joined where a row is faster in a batch, and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.inference.predictor import WORTH_JOINING
from service.inference.session import warm_session
from service.manifest import Graph, Manifest, Tensor
from service.store import ModelStore, StoredModel
from tests.protocol.manifests import manifest

WIDTH = 4096


def stored(folder: Path, batch: int | None) -> StoredModel:
    """Two classes from a wide matrix, 64 MiB: reading it once serves a whole batch."""
    weights = np.random.default_rng(0).normal(0, 0.01, (WIDTH, WIDTH)).astype(np.float32)
    ends = np.ones((WIDTH, 2), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "ends"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch or "n", WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch or "n", 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(ends, "ends"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "predict.onnx"
    onnx.save(model, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = batch or -1
    wide: Manifest = manifest(
        "wide",
        [Tensor(name="x", datatype="FP32", shape=(rows, WIDTH))],
        [Tensor(name="probabilities", datatype="FP32", shape=(rows, 2))],
    ).model_copy(update={"graphs": {"predict": Graph(file="predict.onnx", sha256=digest)}})
    store = ModelStore(folder / "home")
    store.put(wide, {"predict.onnx": path})
    return store.get("wide")


@pytest.mark.parametrize(("batch", "joins"), [(None, True), (1, False)])
def test_what_a_batch_gains_is_measured(tmp_path: Path, batch: int | None, joins: bool) -> None:
    session = warm_session(stored(tmp_path, batch), "cpu", threads=1)
    assert session.row_seconds > 0.001
    assert (session.batch_gain > WORTH_JOINING) is joins


def test_a_quick_graph_is_not_measured(home: Path) -> None:
    assert warm_session(ModelStore(home).get("lenet-digits"), "cpu").batch_gain == 1.0
