"""An ONNX file in FP32 to one that computes in FP16."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
from onnx.compose import merge_models
from onnx.utils import Extractor
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel


def halve(path: Path) -> None:
    """Rewrite an ONNX file so that it computes in FP16; its inputs and outputs stay as they are.

    So does what stands ahead of the first weights: inputs come in any unit, and are scaled there.
    Weights beyond FP16's range go to its nearest end: what that changes, the parity gate measures.
    On a GPU with tensor cores this is faster, on any device the file is half as large.

    Args:
        path: a graph in FP32 with its weights inside.
    """
    model = onnx.load(path)
    cut = _first_scaled(model.graph)
    if not cut:
        half = _converted(model)
    else:
        parts = Extractor(onnx.shape_inference.infer_shapes(model))
        inputs = [one.name for one in model.graph.input]
        outputs = [one.name for one in model.graph.output]
        ahead, rest = parts.extract_model(inputs, cut), parts.extract_model(cut, outputs)
        rest = _converted(rest)
        for part in (ahead, rest):  # what lies on the cut is noted in both
            del part.graph.value_info[:]
        half = merge_models(ahead, rest, io_map=[(name, name) for name in cut])
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, path)


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the float32 number .* will be truncated to")
        half = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    half.topological_sort()  # casts were put in where there was room
    sorted_: onnx.ModelProto = half.model
    return sorted_


def ahead_of_weights(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that no result of a layer with weights flows into: scaling, filling, spreading."""
    weights = {
        one.name
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and sum(extent > 1 for extent in one.dims) > 1
    }
    behind: set[str] = set()
    ahead = []
    for node in graph.node:
        if behind.intersection(node.input) or weights.intersection(node.input):
            behind.update(node.output)
        else:
            ahead.append(node)
    return ahead


def _first_scaled(graph: onnx.GraphProto) -> list[str]:
    """Names of the tensors between what stands ahead of all weights and the rest.

    None where an input goes to both, or where nothing stands ahead.
    """
    ahead = {name for node in ahead_of_weights(graph) for name in node.output}
    rest = [node for node in graph.node if not ahead.issuperset(node.output)]
    read = list(dict.fromkeys(name for node in rest for name in node.input))
    outputs = {one.name for one in graph.output}
    inputs = {one.name for one in graph.input}
    cut = [name for name in read if name in ahead]
    return [] if inputs.intersection(read) or outputs & ahead else cut
