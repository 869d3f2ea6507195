"""The binary tensor extension: tritonclient's own bytes, every datatype, every refusal."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.errors import GlasslineError, MalformedBody, TensorMismatch, TooLarge
from service.protocol import binary_codec
from service.protocol.datatypes import DTYPES
from service.protocol.request import InferRequest, RequestedOutput
from tests.protocol.manifests import ALL, DATATYPES, SERIES, SINGLE, TINY

GOLDEN = Path(__file__).parent / "golden"
PICTURES = np.array([[[[0, 1, 2], [3, 4, 255]]], [[[6, 7, 8], [9, 10, 11]]]], np.uint8)
ANSWER = {
    "probabilities": np.array([[0.75, 0.25], [0.1, 0.9]], np.float32),
    "label": np.array(["cat", "dög"], dtype=object),
}
AS_BYTES = InferRequest("7", {}, None, {"binary_data_output": True})


def body_of(*tensors: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, int]:
    head = orjson.dumps({"inputs": [tensor for tensor, _ in tensors], **more})
    return head + b"".join(raw for _, raw in tensors), len(head)


def tensor(name: str, datatype: str, shape: list[int], raw: bytes, **more: Any) -> Any:
    parameters = {"binary_data_size": len(raw)}
    fields = {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}
    return {**fields, **more}, raw


def strings(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(e)) + e for e in elements)


def decode_one(datatype: str, raw: bytes, **more: Any) -> InferRequest:
    body, size = body_of(tensor("x", datatype, [1, 2], raw, **more))
    return binary_codec.decode(body, size, SINGLE[datatype], 1)


def test_binary_request_of_an_unmodified_tritonclient() -> None:
    body = (GOLDEN / "tritonclient-binary.bin").read_bytes()
    request = binary_codec.decode(body, 154, TINY, 2)
    np.testing.assert_array_equal(request.inputs["image"], PICTURES, strict=True)
    assert (request.id, request.outputs, request.binary) == ("42", None, True)


def test_mixed_request_of_an_unmodified_tritonclient() -> None:
    body = (GOLDEN / "tritonclient-mixed.bin").read_bytes()
    request = binary_codec.decode(body, 305, SERIES, 2)
    assert request.inputs["series"].tolist() == [[[1.5, -2.5], [0, 1]], [[3, 4], [5, -10]]]
    assert request.inputs["line"].tolist() == ["press 1", "Prüfstand"]
    assert request.outputs is not None
    assert [(o.name, o.binary) for o in request.outputs] == [("label", True), ("confidence", False)]
    assert request.binary


VALUES: dict[str, list[Any]] = {
    name: [np.iinfo(dtype).min, np.iinfo(dtype).max]
    for name, dtype in DTYPES.items()
    if dtype.kind in "iu"
} | {
    "BOOL": [True, False],
    "FP16": [-65504.0, 6e-8],
    "FP32": [-3.4028234663852886e38, 1e-45],
    "FP64": [-1.7976931348623157e308, 5e-324],
    "BYTES": ["", "Prüfstand \0"],
}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_datatype_there_and_back(datatype: str) -> None:
    values = np.array([VALUES[datatype]], DTYPES[datatype])
    body, size = binary_codec.encode(SINGLE[datatype], {"x": values}, AS_BYTES, {})
    answered = orjson.loads(body[:size])["outputs"][0]
    request_body, request_size = body_of((answered, body[size:]))
    request = binary_codec.decode(request_body, request_size, SINGLE[datatype], 1)
    np.testing.assert_array_equal(request.inputs["x"], values, strict=True)


def test_all_datatypes_in_one_body_wherever_they_fall() -> None:
    tensors = [
        tensor("bytes", "BYTES", [1, 2], strings(b"", b"abc")),
        *(
            tensor(n.lower(), n, [1, 2], np.array([1, 0], DTYPES[n]).tobytes())
            for n in DATATYPES
            if n != "BYTES"
        ),
    ]
    for padding in range(8):
        body, size = body_of(*tensors, parameters={"binary_data_output": True}, pad="x" * padding)
        request = binary_codec.decode(body, size, ALL, 1)
        for name, array in request.inputs.items():
            assert array.flags.aligned, name
            if name != "bytes":
                assert array.tolist() == [[1, 0]], name


def test_an_aligned_tensor_is_a_view_of_the_body() -> None:
    body = (GOLDEN / "tritonclient-binary.bin").read_bytes()
    image = binary_codec.decode(body, 154, TINY, 2).inputs["image"]
    assert np.shares_memory(image, np.frombuffer(body, np.uint8))
    assert not image.flags.writeable


def test_json_and_binary_inputs_side_by_side() -> None:
    line = {"name": "line", "datatype": "BYTES", "shape": [1], "data": ["press 1"]}
    raw = np.array([1, 2], "<f4").tobytes()
    body, size = body_of((line, b""), tensor("series", "FP32", [1, 1, 2], raw))
    request = binary_codec.decode(body, size, SERIES, 1)
    assert request.inputs["line"].tolist() == ["press 1"]
    assert request.inputs["series"].tolist() == [[[1, 2]]]


@pytest.mark.parametrize(
    ("datatype", "raw", "message"),
    [
        ("FP32", struct.pack("<2f", 0, float("nan")), "nan at element 1"),
        ("FP64", struct.pack("<2d", float("-inf"), 0), "-inf at element 0"),
        ("FP16", struct.pack("<2e", 0, float("inf")), "inf at element 1"),
        ("BOOL", b"\x01\x02", "neither 0 nor 1"),
        ("UINT8", b"\0", "has 1 bytes, wanted 2"),
        ("INT64", b"\0" * 15, "has 15 bytes, wanted 16"),
        ("FP32", b"\0" * 16, "has 16 bytes, wanted 8"),
        ("BYTES", b"\0" * 7, "at least 8 for 2 elements"),
        ("BYTES", strings(b"a"), "at least 8"),
        ("BYTES", strings(b"abc") + b"\0", "has 8 bytes|inside element 1"),
        ("BYTES", strings(b"a", b"b")[:-1], "inside element 1 of 2"),
        ("BYTES", b"\xff" * 8, "inside element 0 of 2"),
        ("BYTES", strings(b"a", b"b", b"c"), "has 5 bytes after element 1"),
        ("BYTES", strings(b"a", b"\xff"), "element 1 that are not UTF-8"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype: str, raw: bytes, message: str) -> None:
    with pytest.raises(TensorMismatch, match=message):
        decode_one(datatype, raw)


@pytest.mark.parametrize("size", [-1, 1.0, "2", None, True, 3, 2**63, [2]])
def test_binary_data_size_must_be_what_is_there(size: Any) -> None:
    with pytest.raises(TensorMismatch, match="has binary_data_size .*wanted 0 to 2"):
        decode_one("UINT8", b"\0\0", parameters={"binary_data_size": size})


def test_parameters_of_an_input_must_be_an_object() -> None:
    with pytest.raises(MalformedBody, match="parameters: got 2"):
        decode_one("UINT8", b"\0\0", parameters=2)


def test_data_and_binary_data_exclude_each_other() -> None:
    with pytest.raises(TensorMismatch, match="both data and binary_data_size"):
        decode_one("UINT8", b"\0\0", data=[0, 0])


def test_bytes_after_the_last_tensor_are_refused() -> None:
    body, size = body_of(tensor("x", "UINT8", [1, 2], b"\0\0"))
    with pytest.raises(MalformedBody, match="got 3 bytes after the last tensor"):
        binary_codec.decode(body + b"\0\0\0", size, SINGLE["UINT8"], 1)


@pytest.mark.parametrize("json_size", [-1, 8, 10**30])
def test_json_size_must_lie_within_the_body(json_size: int) -> None:
    with pytest.raises(MalformedBody, match="wanted 0 to 7"):
        binary_codec.decode(b'{"a":1}', json_size, TINY, 1)


def test_json_size_that_cuts_the_json_is_refused() -> None:
    body, size = body_of(tensor("x", "UINT8", [1, 2], b"\0\0"))
    with pytest.raises(MalformedBody, match="no valid JSON"):
        binary_codec.decode(body, size - 1, SINGLE["UINT8"], 1)


def test_an_announced_giant_costs_no_memory() -> None:
    body, size = body_of(
        tensor("series", "FP32", [10**9, 10**9, 2], b"\0" * 16),
        tensor("line", "BYTES", [10**9], strings(b"a")),
    )
    tracemalloc.start()
    with pytest.raises(TensorMismatch, match="has 16 bytes, wanted 8000000000000000000"):
        binary_codec.decode(body, size, SERIES, max_rows=2**62)
    other, size = body_of(tensor("line", "BYTES", [10**9], strings(b"a")))
    with pytest.raises(TensorMismatch, match="at least 4000000000"):
        binary_codec.decode(other, size, SERIES, max_rows=2**62)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_raw_body_is_the_single_input_and_is_answered_in_bytes() -> None:
    request = binary_codec.decode(PICTURES.tobytes(), 0, TINY, 2)
    np.testing.assert_array_equal(request.inputs["image"], PICTURES, strict=True)
    assert (request.id, request.outputs, request.binary) == (None, None, True)


def test_a_raw_body_of_strings() -> None:
    request = binary_codec.decode(strings(b"a", b"b", b"c", b""), 0, SINGLE["BYTES"], 2)
    assert request.inputs["x"].tolist() == [["a", "b"], ["c", ""]]


@pytest.mark.parametrize(
    ("body", "model", "error", "message"),
    [
        (b"", TINY, MalformedBody, "empty body"),
        (b"\0" * 7, TINY, TensorMismatch, "7 bytes, wanted a multiple of 6"),
        (b"\0" * 6 * 9, TINY, TooLarge, "9 rows, at most 8"),
        (b"\0" * 7, SINGLE["FP32"], TensorMismatch, "7 bytes, wanted a multiple of 2 elements"),
        (b"\0" * 12, SINGLE["FP32"], TensorMismatch, "12 bytes"),
        (b"\1\0\0\0", SINGLE["BYTES"], TensorMismatch, "4 bytes"),
        (b"\0" * 8, SERIES, TensorMismatch, "2 inputs"),
    ],
)
def test_raw_body_refused(
    body: bytes, model: Any, error: type[GlasslineError], message: str
) -> None:
    with pytest.raises(error, match=message):
        binary_codec.decode(body, 0, model, 8)


def test_a_raw_body_cannot_say_two_free_extents() -> None:
    lone = SERIES.model_copy(update={"inputs": SERIES.inputs[:1]})
    with pytest.raises(TensorMismatch, match="2 free extents in a raw body"):
        binary_codec.decode(b"\0" * 16, 0, lone, 8)


def test_a_raw_body_for_a_shape_without_free_extents_must_fill_it() -> None:
    fixed = TINY.inputs[0].model_copy(update={"shape": (1, 1, 2, 3)})
    model = TINY.model_copy(update={"inputs": (fixed,)})
    assert binary_codec.decode(b"\0" * 6, 0, model, 8).rows == 1
    with pytest.raises(TensorMismatch, match="has 12 bytes, wanted 6"):
        binary_codec.decode(b"\0" * 12, 0, model, 8)


def test_response_all_in_bytes() -> None:
    body, size = binary_codec.encode(TINY, ANSWER, AS_BYTES, {"record_id": "r"})
    assert orjson.loads(body[:size]) == {
        "model_name": "tiny",
        "model_version": "3",
        "id": "7",
        "parameters": {"record_id": "r"},
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [2, 2],
                "parameters": {"binary_data_size": 16},
            },
            {
                "name": "label",
                "datatype": "BYTES",
                "shape": [2],
                "parameters": {"binary_data_size": 15},
            },
        ],
    }
    assert body[size:] == struct.pack("<4f", 0.75, 0.25, 0.1, 0.9) + strings(b"cat", "dög".encode())


def test_response_of_json_and_bytes_in_the_order_asked_for() -> None:
    wanted = (RequestedOutput("label", True, {}), RequestedOutput("probabilities", False, {}))
    body, size = binary_codec.encode(TINY, ANSWER, InferRequest(None, {}, wanted, {}), {})
    label, probabilities = orjson.loads(body[:size])["outputs"]
    assert label["parameters"] == {"binary_data_size": 15}
    assert probabilities["data"] == [0.75, 0.25, 0.1, 0.9]
    assert body[size:] == strings(b"cat", "dög".encode())


def test_bytes_may_say_what_json_cannot() -> None:
    outputs = {
        "odd": np.array([np.nan, np.inf]),
        "half": np.array([1.5], np.float16),
        "swapped": np.array([1], ">u2"),
        "strided": np.arange(4, dtype=np.uint8)[::2],
        "raw": np.array([b"\xff\x00"], dtype=object),
    }
    body, size = binary_codec.encode(TINY, outputs, AS_BYTES, {})
    wanted = struct.pack("<2d", np.nan, np.inf) + struct.pack("<e", 1.5) + b"\1\0\0\2"
    assert body[size:] == wanted + strings(b"\xff\x00")


def test_json_part_of_a_mixed_answer_still_refuses_nan() -> None:
    outputs = {"a": np.array([1.0]), "b": np.array([np.nan])}
    wanted = (RequestedOutput("a", True, {}), RequestedOutput("b", False, {}))
    with pytest.raises(TensorMismatch, match="'b' holds NaN"):
        binary_codec.encode(TINY, outputs, InferRequest(None, {}, wanted, {}), {})


@pytest.mark.parametrize("element", [3, None, "\ud800"])
def test_strings_that_no_bytes_can_carry_are_refused(element: Any) -> None:
    outputs = {"line": np.array(["a", element], dtype=object)}
    with pytest.raises(TensorMismatch, match="'line' has .* at element 1"):
        binary_codec.encode(TINY, outputs, AS_BYTES, {})


@pytest.mark.parametrize(("value", "number"), [("0", 0), ("154", 154), ("007", 7)])
def test_header_size(value: str, number: int) -> None:
    assert binary_codec.header_size(value) == number


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", " 1", "1_0", "٣", "0x1", "9" * 5000])
def test_header_size_refused(value: str) -> None:
    with pytest.raises(MalformedBody, match="Inference-Header-Content-Length"):
        binary_codec.header_size(value)
