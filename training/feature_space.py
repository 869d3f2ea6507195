"""The feature space of a released classifier: what its last layer decides by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import CorruptModel
from service.manifest import ImageMedia
from service.store import ModelStore
from training.options import WrongOption

#: Pictures that go through the graph together.
TOGETHER = 64
#: Places of a side that `MeanSpace` looks at.
CELLS = 8


class Space(Protocol):
    """Where pictures are points, the nearer the more alike they are."""

    @property
    def reference(self) -> str:
        """What people call it."""

    def of(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Points (n, d) of pictures (n, C, H, W), 0 to 255."""


class MeanSpace:
    """Where there is no classifier: means of CELLS x CELLS places of a picture, in [0, 1]."""

    reference = f"means of {CELLS} x {CELLS} places"

    def of(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """See `Space`; channels stay apart."""
        rows, columns = (np.array_split(np.arange(one), CELLS) for one in pictures.shape[2:])
        means = [
            pictures[:, :, down[0] : down[-1] + 1, across[0] : across[-1] + 1].mean(axis=(2, 3))
            for down in rows
            for across in columns
        ]
        return np.concatenate(means, axis=1) / 255


class FeatureSpace:
    """Cuts a classifier's graph in front of its last layer.

    Args:
        graph: the ONNX file of a classifier whose last layer is a matrix product.
        media: how its pictures are decoded.
        reference: name and version, for messages.

    Raises:
        WrongOption: it has no such layer.
    """

    def __init__(self, graph: Path, media: ImageMedia, reference: str) -> None:
        self.media = media
        self.reference = reference
        model = onnx.load(str(graph))
        self._output = _before_the_last_layer(model, reference)
        model.graph.output.append(onnx.ValueInfoProto(name=self._output))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def of(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Features (n, d) of pictures (n, C, H, W), 0 to 255."""
        parts = [
            self._session.run([self._output], {self.media.input: pictures[at : at + TOGETHER]})[0]
            for at in range(0, len(pictures), TOGETHER)
        ]
        return np.concatenate(parts).reshape(len(pictures), -1).astype(np.float64)

    def check(self, media: ImageMedia) -> None:
        """Refuse pictures that are decoded in another way.

        Raises:
            WrongOption: they are.
        """
        wanted, got = (
            f"{one.width} x {one.height} pixels, {one.color}" for one in (self.media, media)
        )
        if wanted != got:
            raise WrongOption(
                f"--features: {self.reference} takes pictures of {wanted}, but these are {got}. "
                "Name another classifier, or leave it out."
            )


def space_of(store: ModelStore, reference: str) -> FeatureSpace:
    """The feature space of a model in the store.

    Args:
        reference: NAME or NAME@VERSION.

    Raises:
        WrongOption: it is no classifier of pictures.
        UnknownModel: it is not in the store.
    """
    name, _, version = reference.partition("@")
    model = store.get(name, version or None)
    manifest = model.manifest
    if manifest.images is None or manifest.task != "classify":
        raise WrongOption(
            f"--features: {manifest.reference} can {manifest.task}, wanted a released classifier "
            "of pictures, as `glassline train cnn` makes them."
        )
    return FeatureSpace(model.graph("predict"), manifest.images, manifest.reference)


def found_in(store: ModelStore, sha256: str, media: ImageMedia) -> str | None:
    """The newest released classifier that has learnt from the same pictures, if there is one.

    Args:
        sha256: of the data.
        media: how they are decoded; its own must be the same.
    """
    for name in store.names():
        for version in reversed(store.versions(name)):
            try:
                manifest = store.get(name, version).manifest
            except CorruptModel:
                continue
            if (
                manifest.task == "classify"
                and manifest.media == media
                and manifest.provenance.data.get("sha256") == sha256
            ):
                return manifest.reference
    return None


def _before_the_last_layer(model: Any, reference: str) -> str:
    """Name of what goes into the last matrix product."""
    last = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    if not last:
        raise WrongOption(
            f"--features: {reference} has no last layer that is a matrix product. Name another "
            "classifier."
        )
    return str(last[-1].input[0])
