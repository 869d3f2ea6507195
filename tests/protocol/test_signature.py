"""Signatures are compiled once, and never mixed up."""

from __future__ import annotations

import pytest

from service.errors import TensorMismatch
from service.manifest import Tensor
from service.protocol import json_codec
from service.protocol.signature import shown, signature_of
from tests.protocol.manifests import TINY, manifest


def test_a_manifest_is_compiled_once() -> None:
    assert signature_of(TINY) is signature_of(TINY)


def test_models_come_and_go_and_each_keeps_its_own_signature() -> None:
    for width in range(1, 600):  # more than are kept; most objects die and give up their id
        model = manifest(
            f"model-{width}",
            [Tensor(name="x", datatype="UINT8", shape=(-1, width))],
            [Tensor(name="probabilities", datatype="FP32", shape=(-1, 1))],
        )
        body = f'{{"inputs":[{{"name":"x","datatype":"UINT8","shape":[1,{width}],"data":[]}}]}}'
        with pytest.raises(TensorMismatch, match=f"model-{width}@3: .*has 0 elements"):
            json_codec.decode(body.encode(), model, 1)


@pytest.mark.parametrize(
    ("datatype", "declared", "kept"),
    [
        ("UINT8", (0, 255), None),
        ("UINT8", (0, 254), (0.0, 254.0)),
        ("INT8", (-128, 127), None),
        ("INT16", (0, 1e9), (0.0, 1e9)),
        ("FP32", (-1e300, 1.0), (-3.4028234663852886e38, 1.0)),
        ("FP16", (0.0, 1e6), (0.0, 65504.0)),
        ("BOOL", (0, 1), None),
        ("BYTES", (0, 1), None),
    ],
)
def test_only_a_range_that_can_be_left_is_checked(
    datatype: str, declared: tuple[float, float], kept: tuple[float, float] | None
) -> None:
    tensor = Tensor.model_validate(
        {"name": "x", "datatype": datatype, "shape": (-1,), "range": declared}
    )
    model = manifest("m", [tensor], [Tensor(name="p", datatype="FP32", shape=(-1, 1))])
    assert signature_of(model).inputs["x"].range == kept


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("a\n", "'a\\n'"),
        ([1, 3, 28, 28], "(1, 3, 28, 28)"),
        ([0] * 9, "a list of 9"),
        ([[1]], "a list of 1"),
        ({"a": 1}, "an object of 1 members"),
    ],
)
def test_shown_is_short(value: object, text: str) -> None:
    assert shown(value) == text
