"""A picture model that is built in a moment, and files of inputs for it and the small models."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from service.manifest import ExplainerDefaults, Graph, ImageMedia, Manifest
from service.manifest import Tensor as TensorDeclared
from service.store import ModelStore
from tests.small_models import release_small_models
from tests.unmeasured import PARITY, PROVENANCE

SIDE = 16
LABELS = ("left", "right", "dark")


def release_models(home: Path) -> None:
    """The small models, and `sides`, which says which half of a grey picture is the brighter."""
    release_small_models(home)
    bright = np.zeros((SIDE, SIDE, 3), np.float32)
    bright[:, : SIDE // 2, 0] = bright[:, SIDE // 2 :, 1] = 0.05
    weights = numpy_helper.from_array(bright.reshape(-1, 3), "weights")
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [3], [0, 0, 2])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], [1 / 255])
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["summed"]),
        helper.make_node("Add", ["summed", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "sides",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [weights, bias, scale],
    )
    path = home / "built" / "sides.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest(
        name="sides", version="1", family="mlp", task="classify",
        graphs={"predict": Graph(file="model.onnx", sha256=digest)},
        inputs=(TensorDeclared(name="image", datatype="UINT8", shape=(-1, 1, SIDE, SIDE),
                               range=(0, 255)),),
        outputs=(TensorDeclared(name="probabilities", datatype="FP32", shape=(-1, 3)),),
        labels=LABELS,
        media=ImageMedia(input="image", color="L", width=SIDE, height=SIDE),
        explainer=ExplainerDefaults(modality="image", segmentation="grid", num_samples=400),
        parity=PARITY,
        provenance=PROVENANCE,
    )  # fmt: skip
    ModelStore(home).put(manifest, {"model.onnx": path})


def pictures(count: int) -> NDArray[np.uint8]:
    """(count, SIDE, SIDE) grey pictures, each different."""
    return np.random.default_rng(7).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture as a PNG file."""
    body = io.BytesIO()
    Image.fromarray(picture).save(body, format="PNG")
    return body.getvalue()
