"""Models that take their time: a released one with a loop of matrix products in its graph."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from service.manifest import Graph
from service.store import ModelStore, StoredModel

#: 57 billion operations in all.
SIDE, TURNS = 384, 500


def slowed(home: Path, name: str, slow: str) -> StoredModel:
    """Release a model again, as `slow`: the same answers, half a second later or so."""
    store = ModelStore(home)
    stored = store.get(name)
    graph = onnx.load(stored.folder / stored.manifest.graphs["predict"].file)
    _add_loop(graph.graph)
    files = {"model.onnx": home / "built" / f"{slow}.onnx"}
    files["model.onnx"].parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, files["model.onnx"])
    files |= {one.file: stored.folder / one.file for one in stored.manifest.assets.values()}
    digest = hashlib.sha256(files["model.onnx"].read_bytes()).hexdigest()
    changes = {
        "name": slow,
        "version": store.next_version(slow),
        "graphs": {"predict": Graph(file="model.onnx", sha256=digest)},
    }
    return store.put(stored.manifest.model_copy(update=changes), files)


def _add_loop(graph: onnx.GraphProto) -> None:
    """Add a zero to the first output that takes many products of matrices to find out.

    The matrix hangs on the input, so that nobody can work it out beforehand, and its numbers do
    not, so that it always takes as long.
    """
    source, output = graph.input[0].name, graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{one}_at_once" if one == output else one for one in node.output]
        node.input[:] = [f"{one}_at_once" if one == output else one for one in node.input]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("MatMul", ["held", "matrix"], ["product"]),
            helper.make_node("Tanh", ["product"], ["holds"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("held", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [
            value("goes_on", TensorProto.BOOL, []),
            value("holds", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
    )
    make = helper.make_node
    graph.node.extend([
        make("Cast", [source], ["numbers"], to=TensorProto.FLOAT),
        make("ReduceMean", ["numbers"], ["number"], keepdims=0),
        make("Mul", ["number", "nought"], ["none"]),
        make("Add", ["none", "hundredth"], ["element"]),
        make("Expand", ["element", "square"], ["matrix"]),
        make("Loop", ["times", "always", "matrix"], ["result"], body=body),
        make("ReduceMean", ["result"], ["some"], keepdims=0),
        make("Mul", ["some", "nought"], ["nothing"]),
        make("Add", [f"{output}_at_once", "nothing"], [output]),
    ])  # fmt: skip
    graph.initializer.extend([
        helper.make_tensor("square", TensorProto.INT64, [2], [SIDE, SIDE]),
        helper.make_tensor("times", TensorProto.INT64, [], [TURNS]),
        helper.make_tensor("always", TensorProto.BOOL, [], [True]),
        helper.make_tensor("nought", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("hundredth", TensorProto.FLOAT, [], [0.01]),
    ])  # fmt: skip
