"""Any bytes whatever give a request or a Glassline error, never another exception."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import GlasslineError
from service.manifest import Manifest, elements
from service.protocol import binary_codec, json_codec
from service.protocol.datatypes import DTYPES
from service.protocol.request import InferRequest
from tests.protocol.manifests import ALL, DATATYPES, SERIES, SINGLE, TINY

MODELS = [TINY, SERIES, ALL, *SINGLE.values()]
MAX_ROWS = 8

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "image", "FP32", "UINT8", "BYTES", "binary_data_size"])
    | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["name", "data", "shape", "parameters"]), inner),
    max_leaves=6,
)  # fmt: skip
STEPS = st.lists(st.integers(0, 7), min_size=1, max_size=5)
LENIENT = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(request: InferRequest, model: Manifest) -> None:
    """What every accepted request promises to the rooms behind."""
    assert request.inputs.keys() == {tensor.name for tensor in model.inputs}
    assert 1 <= request.rows <= MAX_ROWS
    for tensor in model.inputs:
        array = request.inputs[tensor.name]
        assert array.dtype == DTYPES[tensor.datatype]
        assert array.flags.aligned
        assert array.flags.c_contiguous
        assert len(array) == request.rows
        assert array.ndim == len(tensor.shape)
        for got, declared in zip(array.shape, tensor.shape, strict=True):
            assert got == declared or declared == -1
        if array.dtype.kind == "f":
            assert np.isfinite(array).all()
        if tensor.range is not None:
            assert array.min() >= tensor.range[0]
            assert array.max() <= tensor.range[1]
        if tensor.datatype == "BYTES":
            assert all(type(element) is str for element in array.reshape(-1))


def survive(body: bytes, json_size: int | None, model: Manifest) -> None:
    refusal = None
    try:
        if json_size is None:
            request = json_codec.decode(body, model, MAX_ROWS)
        else:
            request = binary_codec.decode(body, json_size, model, MAX_ROWS)
        check(request, model)
    except GlasslineError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith(model.reference)
        assert len(refusal.encode("utf-8")) < 1000


@st.composite
def valid(draw: st.DrawFn) -> tuple[Manifest, dict[str, Any], list[bytes]]:
    """A model, a valid JSON object for it, and the bytes of its binary tensors."""
    model = draw(st.sampled_from(MODELS))
    rows = draw(st.integers(1, 3))
    inputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for tensor in model.inputs:
        free = (rows, *(draw(st.integers(1, 3)) for _ in tensor.shape[1:]))
        shape = [f if e < 0 else e for f, e in zip(free, tensor.shape, strict=True)]
        field: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
        count = elements(tuple(shape))
        dtype = DTYPES[tensor.datatype]
        if tensor.datatype == "FP16" or draw(st.booleans()):
            zero = b"\0" * (4 if tensor.datatype == "BYTES" else dtype.itemsize)
            field["parameters"] = {"binary_data_size": len(zero) * count}
            tails.append(zero * count)
        else:
            fill = {"BYTES": "a", "BOOL": True}.get(tensor.datatype, 1)
            flat = np.full(shape, fill, dtype)
            field["data"] = flat.tolist() if draw(st.booleans()) else flat.reshape(-1).tolist()
        inputs.append(field)
    document: dict[str, Any] = {"inputs": inputs}
    document["parameters"] = {"binary_data_output": True}
    if draw(st.booleans()):
        document["outputs"] = [{"name": "label", "parameters": {"binary_data": False}}]
    return model, document, tails


def mutate(node: Any, steps: list[int], value: Any, drop: bool) -> None:
    """Walk into the object by `steps` and put `value` there, or take out what is there."""
    for depth, step in enumerate(steps):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[step % len(keys)]
        if depth == len(steps) - 1 or not isinstance(node[key], (dict, list)) or not node[key]:
            if drop:
                del node[key]
            else:
                node[key] = value
            return
        node = node[key]


def wire(document: dict[str, Any], tails: list[bytes]) -> tuple[bytes, int | None]:
    head = orjson.dumps(document)
    return head + b"".join(tails), len(head) if tails else None


@settings(LENIENT, max_examples=300)
@given(valid())
def test_a_valid_request_is_accepted(case: tuple[Manifest, dict[str, Any], list[bytes]]) -> None:
    model, document, tails = case
    body, size = wire(document, tails)
    if size is None:
        request = json_codec.decode(body, model, MAX_ROWS)
    else:
        request = binary_codec.decode(body, size, model, MAX_ROWS)
    check(request, model)


@LENIENT
@given(valid(), st.lists(st.tuples(STEPS, JUNK, st.booleans()), min_size=1, max_size=3))
def test_a_request_with_a_field_changed(
    case: tuple[Manifest, dict[str, Any], list[bytes]],
    changes: list[tuple[list[int], Any, bool]],
) -> None:
    model, document, tails = case
    document = copy.deepcopy(document)
    for steps, value, drop in changes:
        mutate(document, steps, value, drop)
    survive(*wire(document, tails), model)


@LENIENT
@given(
    valid(),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.integers(-3, 3),
    st.integers(0, 2000) | st.none(),
)
def test_a_request_with_bytes_changed(
    case: tuple[Manifest, dict[str, Any], list[bytes]],
    edits: list[tuple[int, int]],
    shift: int,
    keep: int | None,
) -> None:
    model, document, tails = case
    body, size = wire(document, tails)
    damaged = bytearray(body)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    survive(bytes(damaged[:keep]), None if size is None else size + shift, model)


@LENIENT
@given(
    st.binary(max_size=64), st.integers(-2, 70) | st.none(), st.sampled_from([TINY, SERIES, ALL])
)
def test_raw_bytes(body: bytes, json_size: int | None, model: Manifest) -> None:
    survive(body, json_size, model)


@settings(LENIENT, max_examples=500)
@given(st.binary(min_size=1, max_size=64), st.sampled_from(DATATYPES))
def test_raw_bytes_as_the_single_input(body: bytes, datatype: str) -> None:
    survive(body, 0, SINGLE[datatype])
