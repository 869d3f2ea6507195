"""v2 JSON: golden bodies, the table of datatypes, the table of refusals."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.errors import GlasslineError, MalformedBody, TensorMismatch, TooLarge
from service.protocol import json_codec
from service.protocol.request import InferRequest, RequestedOutput
from tests.protocol.manifests import ALL, SERIES, SINGLE, TINY

GOLDEN = Path(__file__).parent / "golden"
PICTURES = np.array([[[[0, 1, 2], [3, 4, 255]]], [[[6, 7, 8], [9, 10, 11]]]], np.uint8)
ANSWER = {
    "probabilities": np.array([[0.75, 0.25], [0.1, 0.9]], np.float32),
    "label": np.array(["cat", "dog"], dtype=object),
    "confidence": np.array([0.75, 0.9], np.float32),
}
ALL_OF_THEM = InferRequest(None, {}, None, {})


def tiny(**changes: Any) -> bytes:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [0] * 6}
    return orjson.dumps({"inputs": [{**tensor, **changes}]})


def single(datatype: str, data: str, shape: str = "[1,2]") -> bytes:
    text = f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}'
    return text.encode()


def series(values: str, shape: str = "[1,1,2]", line: str = '["a"]') -> bytes:
    return (
        f'{{"inputs":[{{"name":"line","datatype":"BYTES","shape":[1],"data":{line}}},'
        f'{{"name":"series","datatype":"FP32","shape":{shape},"data":{values}}}]}}'
    ).encode()


def test_flat_request() -> None:
    body = (GOLDEN / "request-flat.json").read_bytes()
    request = json_codec.decode(body, TINY, max_rows=2)
    np.testing.assert_array_equal(request.inputs["image"], PICTURES, strict=True)
    assert (request.id, request.rows, request.binary) == ("42", 2, False)
    assert request.parameters == {"note": "true"}
    assert request.outputs == (
        RequestedOutput("label", False, {}),
        RequestedOutput("probabilities", False, {"binary_data": False}),
    )


def test_nested_request_is_the_same_array_and_asks_for_all_outputs() -> None:
    body = (GOLDEN / "request-nested.json").read_bytes()
    request = json_codec.decode(body, TINY, max_rows=2)
    np.testing.assert_array_equal(request.inputs["image"], PICTURES, strict=True)
    assert (request.id, request.outputs, request.parameters) == (None, None, {})


def test_request_of_an_unmodified_tritonclient() -> None:
    body = (GOLDEN / "tritonclient-json.bin").read_bytes()
    request = json_codec.decode(body, TINY, max_rows=2)
    np.testing.assert_array_equal(request.inputs["image"], PICTURES, strict=True)
    assert request.outputs == (RequestedOutput("probabilities", False, {"binary_data": False}),)


@pytest.mark.parametrize(
    ("datatype", "data", "dtype"),
    [
        ("BOOL", "[true,false]", "?"),
        ("UINT8", "[0,255]", "u1"),
        ("UINT16", "[0,65535]", "u2"),
        ("UINT32", "[0,4294967295]", "u4"),
        ("UINT64", "[0,18446744073709551615]", "u8"),
        ("INT8", "[-128,127]", "i1"),
        ("INT16", "[-32768,32767]", "i2"),
        ("INT32", "[-2147483648,2147483647]", "i4"),
        ("INT64", "[-9223372036854775808,9223372036854775807]", "i8"),
        ("FP32", "[-3.4028234663852886e38,1]", "f4"),
        ("FP64", "[-1.7976931348623157e308,5e-324]", "f8"),
        ("BYTES", '["","Prüfstand \\u0000 \\ud83d\\ude00"]', "O"),
    ],
)
def test_datatype_holds_its_whole_range(datatype: str, data: str, dtype: str) -> None:
    array = json_codec.decode(single(datatype, data), SINGLE[datatype], 1).inputs["x"]
    np.testing.assert_array_equal(array, np.array([json.loads(data)], dtype), strict=True)


@pytest.mark.parametrize(
    ("datatype", "data", "got"),
    [
        ("BOOL", "[true,1]", "1 at element 1"),
        ("UINT8", "[0,256]", "256 at element 1"),
        ("UINT8", "[-1,0]", "-1 at element 0"),
        ("UINT8", "[0,1.0]", "1.0 at element 1"),
        ("UINT8", "[0,true]", "true at element 1"),
        ("UINT8", "[0,null]", "null at element 1"),
        ("UINT8", '["0",0]', "'0' at element 0"),
        ("UINT8", "[0,[0]]", r"\(0\) at element 1"),
        ("UINT8", "[0,[[0]]]", "a list of 1 at element 1"),
        ("UINT8", "[0,{}]", "an object of 0 members"),
        ("UINT16", "[65536,0]", "65536 at element 0"),
        ("UINT32", "[0,4294967296]", "4294967296"),
        ("UINT64", "[0,18446744073709551616]", "1.8446744073709552e\\+19"),
        ("UINT64", "[0,-1]", "-1 at element 1"),
        ("INT8", "[128,0]", "128 at element 0"),
        ("INT16", "[0,-32769]", "-32769 at element 1"),
        ("INT32", "[2147483648,0]", "2147483648"),
        ("INT64", "[0,9223372036854775808]", "9223372036854775808"),
        ("INT64", "[0,false]", "false at element 1"),
        ("FP32", "[0,1e39]", "1e\\+39 at element 1"),
        ("FP32", '[0,"1.5"]', "'1.5' at element 1"),
        ("FP32", "[0,null]", "null at element 1"),
        ("FP32", "[true,0]", "true at element 0"),
        ("FP64", "[0,false]", "false at element 1"),
        ("BYTES", '["a",1]', "1 at element 1"),
        ("BYTES", '[null,"a"]', "null at element 0"),
        ("FP16", "[0,1]", "binary data"),
    ],
)
def test_value_outside_its_datatype_is_refused(datatype: str, data: str, got: str) -> None:
    with pytest.raises(TensorMismatch, match=got):
        json_codec.decode(single(datatype, data), SINGLE[datatype], 1)


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"", MalformedBody, "tiny@3: request body: got an empty body"),
        (b"  ", MalformedBody, "no valid JSON"),
        (tiny()[:-9], MalformedBody, "no valid JSON"),
        (b"\xff\xfe{}", MalformedBody, "no valid JSON"),
        (b"[]", MalformedBody, "request body: got \\(\\), wanted a JSON object"),
        (b"null", MalformedBody, "request body: got null"),
        (b"3", MalformedBody, "request body: got 3"),
        (b"[" * 100_000, MalformedBody, "depth limit"),
        (b'{"a":' * 100_000, MalformedBody, "depth limit"),
        (b"{}", MalformedBody, "inputs: got null"),
        (b'{"inputs":{}}', MalformedBody, "inputs: got an object"),
        (b'{"inputs":[]}', TensorMismatch, "got 0 of 1 inputs, wanted 'image' too"),
        (b'{"inputs":[7]}', MalformedBody, r"inputs\[0\]: got 7"),
        (b'{"inputs":[{}]}', MalformedBody, r"inputs\[0\]\.name: got null"),
        (tiny(name=["image"]), MalformedBody, r"inputs\[0\]\.name"),
        (tiny(name="picture"), TensorMismatch, "got input 'picture'.*GET /v2/models/tiny lists"),
        (tiny(name="x" * 10_000), TensorMismatch, r"got input 'x{40}\.\.\.'"),
        (
            tiny(datatype="FP32"),
            TensorMismatch,
            "datatype 'FP32', wanted 'UINT8'",
        ),
        (tiny(datatype="uint8"), TensorMismatch, "datatype 'uint8'"),
        (tiny(datatype=None), TensorMismatch, "datatype null"),
        (tiny(datatype=["UINT8"]), TensorMismatch, "datatype"),
        (tiny(shape=None), TensorMismatch, "shape null"),
        (tiny(shape=6), TensorMismatch, "shape 6"),
        (tiny(shape=[]), TensorMismatch, "has shape \\(\\).*fits \\(any, 1, 2, 3\\)"),
        (tiny(shape=[1, 2, 3]), TensorMismatch, r"shape \(1, 2, 3\)"),
        (tiny(shape=[1, 3, 2, 1]), TensorMismatch, r"shape \(1, 3, 2, 1\)"),
        (tiny(shape=[0, 1, 2, 3], data=[]), TensorMismatch, "'any' at least 1"),
        (tiny(shape=[-1, 1, 2, 3]), TensorMismatch, "shape"),
        (tiny(shape=[1.0, 1, 2, 3]), TensorMismatch, "list of integers"),
        (tiny(shape=[True, 1, 2, 3]), TensorMismatch, "list of integers"),
        (tiny(shape=["1", 1, 2, 3]), TensorMismatch, "list of integers"),
        (tiny(shape=[9, 1, 2, 3]), TooLarge, "9 rows, at most 8"),
        (tiny(shape=[2**63, 1, 2, 3]), TooLarge, "at most 8"),
        (tiny(data=[0] * 5), TensorMismatch, "has 5 elements, wanted 6"),
        (tiny(data=[0] * 7), TensorMismatch, "has 7 elements, wanted 6"),
        (tiny(data=[]), TensorMismatch, "has 0 elements"),
        (tiny(data=None), TensorMismatch, "has data null"),
        (tiny(data={"0": 0}), TensorMismatch, "has data an object"),
        (tiny(data="000000"), TensorMismatch, "has data '000000'"),
        (tiny(data=6), TensorMismatch, "has data 6"),
        (tiny(data=[[[[0, 0, 0], [0, 0]]]]), TensorMismatch, "ragged.*axis 3"),
        (tiny(data=[[[[0, 0, 0]]]]), TensorMismatch, "axis 2"),
        (tiny(data=[[0] * 6]), TensorMismatch, "axis 1"),
        (tiny(data=[[[0] * 6]]), TensorMismatch, "axis 2"),
        (tiny(data=[[]]), TensorMismatch, "axis 1"),
        (tiny(data=[[[[0, 0, 0], 0]]]), TensorMismatch, "axis 3"),
        (tiny(data=[[[[[0], 0, 0], [0, 0, 0]]]]), TensorMismatch, "element 0"),
        (tiny(parameters=[]), MalformedBody, "parameters: got \\(\\)"),
        (tiny(parameters={"binary_data_size": 6}), TensorMismatch, "Inference-Header-Content"),
    ],
)
def test_refusal(body: bytes, error: type[GlasslineError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        json_codec.decode(body, TINY, max_rows=8)
    assert type(caught.value) is error
    assert str(caught.value).startswith("tiny@3")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("member", "value", "error", "message"),
    [
        ("id", 7, MalformedBody, "id: got 7"),
        ("id", {}, MalformedBody, "id: got an object"),
        ("parameters", [], MalformedBody, "parameters: got"),
        ("parameters", "x", MalformedBody, "parameters: got 'x'"),
        ("parameters", {"binary_data_output": 1}, MalformedBody, "binary_data_output: got 1"),
        ("outputs", {}, MalformedBody, "outputs: got"),
        ("outputs", "", MalformedBody, "outputs: got"),
        ("outputs", ["label"], MalformedBody, r"outputs\[0\]: got 'label'"),
        ("outputs", [{}], MalformedBody, r"outputs\[0\]\.name: got null"),
        ("outputs", [{"name": 1}], MalformedBody, r"outputs\[0\]\.name: got 1"),
        ("outputs", [{"name": "nix"}], TensorMismatch, "output 'nix', wanted one of probabilities"),
        ("outputs", [{"name": "label"}] * 2, TensorMismatch, "output 'label' twice"),
        ("outputs", [{"name": "label", "parameters": 1}], MalformedBody, "parameters: got 1"),
        (
            "outputs",
            [{"name": "label", "parameters": {"binary_data": "yes"}}],
            MalformedBody,
            "binary_data: got 'yes'",
        ),
    ],
)
def test_refused_member(member: str, value: Any, error: type[GlasslineError], message: str) -> None:
    body = orjson.dumps({**orjson.loads(tiny()), member: value})
    with pytest.raises(error, match=message):
        json_codec.decode(body, TINY, max_rows=8)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan"])
def test_what_json_has_no_number_for_is_refused(literal: str) -> None:
    with pytest.raises(MalformedBody, match="no valid JSON"):
        json_codec.decode(single("FP64", f"[0,{literal}]"), SINGLE["FP64"], 1)


def test_overflow_in_a_parameter_is_refused_too() -> None:
    body = tiny()[:-1] + b',"parameters":{"x":1e999}}'
    with pytest.raises(MalformedBody, match="infinity"):
        json_codec.decode(body, TINY, 1)


@pytest.mark.parametrize("name", ["id", "parameters", "outputs"])
def test_null_stands_for_absent(name: str) -> None:
    body = orjson.dumps({**orjson.loads(tiny()), name: None})
    assert json_codec.decode(body, TINY, 1).outputs is None


def test_empty_outputs_ask_for_all() -> None:
    body = orjson.dumps({**orjson.loads(tiny()), "outputs": []})
    assert json_codec.decode(body, TINY, 1).outputs is None


def test_duplicate_input_is_refused() -> None:
    document = orjson.loads(tiny())
    body = orjson.dumps({"inputs": document["inputs"] * 2})
    with pytest.raises(TensorMismatch, match="'image' twice"):
        json_codec.decode(body, TINY, 1)


def test_missing_input_is_named() -> None:
    body = orjson.dumps({"inputs": orjson.loads(series("[0,0]"))["inputs"][:1]})
    with pytest.raises(TensorMismatch, match="got 1 of 2 inputs, wanted 'series' too"):
        json_codec.decode(body, SERIES, 1)


def test_inputs_must_have_the_same_rows() -> None:
    with pytest.raises(TensorMismatch, match="'series' has 2 rows, wanted 1 as in input 'line'"):
        json_codec.decode(series("[0,0,0,0]", "[2,1,2]"), SERIES, 8)


@pytest.mark.parametrize(
    ("values", "got"), [("[0,10.01]", "10.0"), ("[-11,0]", "-11.0"), ("[0,1e9]", "1000000000.0")]
)
def test_value_outside_the_manifests_range_is_refused(values: str, got: str) -> None:
    with pytest.raises(TensorMismatch, match=f"has {got}.*wanted -10 to 10 in FP32"):
        json_codec.decode(series(values), SERIES, 1)


def test_the_ends_of_the_range_belong_to_it() -> None:
    request = json_codec.decode(series("[-10,10]"), SERIES, 1)
    assert request.inputs["series"].tolist() == [[[-10.0, 10.0]]]
    assert request.inputs["line"].tolist() == ["a"]


def test_half_precision_input_and_output_need_binary_data() -> None:
    with pytest.raises(TensorMismatch, match="'half' is a 16-bit float"):
        json_codec.decode(b'{"inputs":[]}', ALL, 1)
    with pytest.raises(TensorMismatch, match="'half' is a 16-bit float"):
        json_codec.decode(b'{"inputs":[],"outputs":[{"name":"half"}]}', ALL, 1)


@pytest.mark.parametrize("shape", ["[1000000000,1000000000,2]", "[1,9223372036854775807,2]"])
def test_an_announced_giant_costs_no_memory(shape: str) -> None:
    body = series("[0,0]", shape, '["a"]').replace(b"[1],", shape.split(",")[0].encode() + b"],")
    tracemalloc.start()
    with pytest.raises(TensorMismatch, match="elements"):
        json_codec.decode(body, SERIES, max_rows=2**62)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_response_with_all_outputs() -> None:
    body = json_codec.encode(TINY, ANSWER, ALL_OF_THEM, {})
    assert body == (GOLDEN / "response-all.json").read_bytes()


def test_response_with_selected_outputs_in_their_order_and_the_id() -> None:
    request = json_codec.decode((GOLDEN / "request-flat.json").read_bytes(), TINY, 2)
    body = json_codec.encode(TINY, ANSWER, request, {"record_id": "r-1"})
    assert body == (GOLDEN / "response-selected.json").read_bytes()


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        (np.array([True, False]), "BOOL", [True, False]),
        (np.array([[1, 2], [3, 4]], np.uint8).T, "UINT8", [1, 3, 2, 4]),
        (np.array([1, 2], ">i4"), "INT32", [1, 2]),
        (np.array([2**64 - 1], np.uint64), "UINT64", [2**64 - 1]),
        (np.array([0.1], np.float32), "FP32", [0.1]),
        (np.array([0.1], np.float64), "FP64", [0.1]),
        (np.array(0.5), "FP64", [0.5]),
        (np.array(["a", "ü"]), "BYTES", ["a", "ü"]),
        (np.array([b"a", b"bc"]), "BYTES", ["a", "bc"]),
        (np.array([b"\xc3\xbc", "x", np.str_("y")], dtype=object), "BYTES", ["ü", "x", "y"]),
        (np.zeros((0, 3), np.int64), "INT64", []),
    ],
)
def test_every_kind_of_output_array(array: Any, datatype: str, data: list[Any]) -> None:
    body = orjson.loads(json_codec.encode(TINY, {"y": array}, ALL_OF_THEM, {}))
    shape = list(array.shape)
    assert body["outputs"] == [{"name": "y", "datatype": datatype, "shape": shape, "data": data}]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.5, np.nan], np.float32), "NaN or Infinity"),
        (np.array([np.inf]), "NaN or Infinity"),
        (np.array([1.0], np.float16), "FP16"),
        (np.array([1j]), "complex128"),
        (np.array([b"\xff"], dtype=object), "element 0"),
        (np.array(["a", 3], dtype=object), "has 3 at element 1"),
        (np.array(["\ud800"], dtype=object), "element 0"),
    ],
)
def test_what_an_answer_cannot_say_is_refused(array: Any, message: str) -> None:
    with pytest.raises(TensorMismatch, match=message):
        json_codec.encode(TINY, {"y": array}, ALL_OF_THEM, {})


def test_a_null_among_the_parameters_is_not_taken_for_nan() -> None:
    body = json_codec.encode(TINY, ANSWER, ALL_OF_THEM, {"seed": None})
    assert orjson.loads(body)["parameters"] == {"seed": None}


def test_a_wanted_output_that_the_model_did_not_give_is_refused() -> None:
    request = InferRequest(None, {}, (RequestedOutput("label", False, {}),), {})
    with pytest.raises(TensorMismatch, match="output 'label'"):
        json_codec.encode(TINY, {}, request, {})
