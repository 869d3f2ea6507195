"""Manifests that the protocol tests speak to: small, and together they hold every datatype."""

from __future__ import annotations

from typing import Any

from service.manifest import Graph, ImageMedia, Manifest, Parity, Provenance, Tensor


def manifest(name: str, inputs: list[Tensor], outputs: list[Tensor], **more: Any) -> Manifest:
    classes = outputs[0].shape[-1]
    return Manifest(
        name=name,
        version="3",
        family="test",
        task="classify",
        graphs={"predict": Graph(file="predict.onnx", sha256="0" * 64)},
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        labels=more.pop("labels", tuple(f"class {i}" for i in range(classes))),
        parity=Parity(rows=1, max_abs_difference=0.0, label_flips=0, tolerance=1e-5),
        provenance=Provenance(
            script="train.py",
            config={},
            seed=0,
            git_revision="0" * 40,
            trained_at="2025-01-01T00:00:00Z",
            seconds=1.0,
            data={},
            libraries={},
            environment={},
        ),
        **more,
    )


#: A 2 x 3 grey picture: small enough to write its requests by hand.
TINY = manifest(
    "tiny",
    [Tensor(name="image", datatype="UINT8", shape=(-1, 1, 2, 3), unit="grey", range=(0, 255))],
    [Tensor(name="probabilities", datatype="FP32", shape=(-1, 2))],
    labels=("cat", "dog"),
    media=ImageMedia(input="image", color="L", width=3, height=2),
)

NUMERIC = (
    "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64",
)  # fmt: skip
DATATYPES = ("BOOL", *NUMERIC, "FP16", "BYTES")

#: One input a datatype, (any, 2) each.
ALL = manifest(
    "all",
    [Tensor(name=name.lower(), datatype=name, shape=(-1, 2)) for name in DATATYPES],
    [
        Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
        Tensor(name="half", datatype="FP16", shape=(-1, 2)),
    ],
)

#: As many single-input models, each with a free second extent.
SINGLE = {
    name: manifest(
        f"single-{name.lower()}",
        [Tensor(name="x", datatype=name, shape=(-1, 2))],
        [Tensor(name="probabilities", datatype="FP32", shape=(-1, 2))],
    )
    for name in DATATYPES
}

#: Two free extents and a range.
SERIES = manifest(
    "series",
    [
        Tensor(name="series", datatype="FP32", shape=(-1, -1, 2), range=(-10.0, 10.0)),
        Tensor(name="line", datatype="BYTES", shape=(-1,)),
    ],
    [Tensor(name="probabilities", datatype="FP32", shape=(-1, 2))],
)
