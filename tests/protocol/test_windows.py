"""Windows of any length, channels by name, gaps; texts by their vocabulary."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import GlasslineError, TensorMismatch, TooLarge
from service.inference.windows import interpolated, padded
from service.manifest import Manifest, SequenceMedia, Tensor, TextMedia
from service.protocol import bare, binary_codec, json_codec, v1
from service.protocol.metadata import model_metadata
from service.protocol.vocabulary import UNKNOWN, Vocabulary
from service.protocol.vocabulary import padded as padded_texts
from tests.protocol.manifests import manifest

NAMES = ("heat", "flow")
WINDOW = Tensor(name="window", datatype="FP32", shape=(-1, -1, 2), features=NAMES)
LENGTH = Tensor(name="length", datatype="INT64", shape=(-1,))
OUTPUT = Tensor(name="p", datatype="FP32", shape=(-1, 2))


def model(gaps: str = "refuse") -> Manifest:
    media = SequenceMedia.model_validate({"input": "window", "longest": 5, "gaps": gaps})
    return manifest("wear", [WINDOW, LENGTH], [OUTPUT], media=media)


STRICT, LENIENT = model(), model("interpolate")


def csv(text: str, of: Manifest = STRICT, rows: int = 4) -> dict[str, NDArray[Any]]:
    return bare.decode(text.encode(), "text/csv", of, rows, 1).inputs


def as_json(of: Manifest = STRICT, **tensor: Any) -> NDArray[Any]:
    held = {"name": "window", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}
    body = json.dumps({"inputs": [{**held, **tensor}]}).encode()
    return json_codec.decode(body, of, 4).inputs["window"]


def test_windows_of_several_lengths_are_padded_and_counted() -> None:
    got = csv("flow,heat\n1,2\n3,4\n\n5,6\n\n7,8\n9,10\n11,12\n")
    assert got["length"].tolist() == [2, 1, 3]
    assert got["window"].tolist() == [
        [[2, 1], [4, 3], [0, 0]], [[6, 5], [0, 0], [0, 0]], [[8, 7], [10, 9], [12, 11]],
    ]  # fmt: skip
    assert got["window"].dtype == np.float32


def test_a_length_may_be_left_out_and_only_it() -> None:
    body = {"inputs": [{"name": "length", "datatype": "INT64", "shape": [1], "data": [1]}]}
    with pytest.raises(TensorMismatch, match="wanted 'window' too"):
        json_codec.decode(json.dumps(body).encode(), STRICT, 4)
    assert as_json().tolist() == [[[1, 2], [3, 4]]]


def test_instances_of_several_lengths_are_padded_too() -> None:
    body = json.dumps({"instances": [[[1, 2]], [[3, 4], [5, 6]]]}).encode()
    got = v1.decode(body, STRICT, 4).inputs
    assert got["length"].tolist() == [1, 2]
    assert got["window"][0].tolist() == [[1, 2], [0, 0]]
    with pytest.raises(TensorMismatch, match="row 1: got 6 steps, wanted at most 5"):
        v1.decode(json.dumps({"instances": [[[1, 2]], [[3, 4]] * 6]}).encode(), STRICT, 4)


@pytest.mark.parametrize("codec", ["json", "binary"])
def test_channels_are_found_by_name_in_any_order(codec: str) -> None:
    named = {"features": ["flow", "heat"]}
    if codec == "json":
        assert as_json(parameters=named).tolist() == [[[2, 1], [4, 3]]]
        return
    values = np.array([[[1, 2], [3, 4]]], np.float32)
    tensor = {"name": "window", "datatype": "FP32", "shape": [1, 2, 2],
              "parameters": {"binary_data_size": values.nbytes, **named}}  # fmt: skip
    length = {"name": "length", "datatype": "INT64", "shape": [1],
              "parameters": {"binary_data_size": 8}}  # fmt: skip
    header = json.dumps({"inputs": [tensor, length]}).encode()
    body = header + values.tobytes() + np.array([2], np.int64).tobytes()
    for _ in range(3):  # the header is known again the second time
        got = binary_codec.decode(body, len(header), STRICT, 4).inputs
        assert got["window"].tolist() == [[[2, 1], [4, 3]]]


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (["heat"], "lacks the features 'flow'"),
        (["heat", "flow", "dust"], "unknown features 'dust'"),
        (["heat", "flow", "heat"], "features 'heat' twice"),
        ("heat", "has features 'heat', wanted each of 'heat', 'flow' once"),
        ([1, 2], "has features"),
    ],
)
def test_channels_that_are_not_the_models_are_named(given_: Any, words: str) -> None:
    with pytest.raises(TensorMismatch, match=words):
        as_json(parameters={"features": given_})


def test_gaps_come_in_only_where_the_manifest_fills_them() -> None:
    holey = "heat,flow\n1,\n,2\nNaN,3\n"
    window = csv(holey, LENIENT)["window"][0]
    assert np.isnan(window).tolist() == [[False, True], [True, False], [True, False]]
    assert np.isnan(as_json(LENIENT, data=[1, None, 3, None])[0, :, 1]).all()
    assert np.isnan(as_json(LENIENT, data=[[[1, None], [3, 4]]])[0, 0, 1])
    for of in (STRICT,):
        with pytest.raises(TensorMismatch, match="column 'flow': got ''"):
            csv(holey, of)
        with pytest.raises(TensorMismatch, match="has null at element 1"):
            as_json(of, data=[1, None, 3, 4])
    for of in (STRICT, LENIENT):
        with pytest.raises(TensorMismatch, match="inf"):
            csv("heat,flow\n1,inf\n", of)
        with pytest.raises(TensorMismatch):
            as_json(of, data=[1, "NaN", 3, 4])


def test_what_does_not_fit_is_named_by_its_place() -> None:
    with pytest.raises(TensorMismatch, match="window 1, which begins at line 4: got 6 rows"):
        csv("heat,flow\n1,2\n\n" + "1,2\n" * 6)
    with pytest.raises(TooLarge, match="more than 2 windows"):
        csv("1,2\n\n1,2\n\n1,2\n", rows=2)
    with pytest.raises(TensorMismatch, match="column 'flow' is missing"):
        csv("heat\n1\n")


@given(st.binary(max_size=60) | st.text(alphabet='heatflow,;\n\r"12.-eNaN ', max_size=60))
def test_any_bytes_are_windows_or_a_clear_refusal(said: bytes | str) -> None:
    body = said.encode() if isinstance(said, str) else said
    for of in (STRICT, LENIENT):
        with contextlib.suppress(GlasslineError):
            got = bare.decode(body, "text/csv", of, 4, 1).inputs
            rows, steps, channels = got["window"].shape
            assert (rows <= 4, channels) == (True, 2)
            assert 1 <= got["length"].min() <= got["length"].max() == steps <= 5


@given(
    values=st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=2, max_size=12).filter(
        lambda some: any(one is not None for one in some)
    )
)
def test_gaps_are_interpolated_between_their_neighbours(values: list[float | None]) -> None:
    window = np.array([[[math.nan if one is None else one] for one in values]], np.float32)
    before = window.copy()
    filled, counts = interpolated(window, np.array([len(values)], np.int64))
    assert np.array_equal(window, before, equal_nan=True)
    known = [at for at, one in enumerate(values) if one is not None]
    assert counts.tolist() == [len(values) - len(known)]
    wanted = np.interp(range(len(values)), known, [values[at] for at in known])  # type: ignore[misc]
    np.testing.assert_allclose(filled[0, :, 0], wanted, rtol=1e-5, atol=1e-3)


def test_padding_is_no_gap_and_an_empty_channel_is_refused() -> None:
    window = np.array([[[1, math.nan], [2, 5], [math.nan, math.nan]]], np.float32)
    filled, counts = interpolated(window, np.array([2], np.int64))
    assert filled[0, :2].tolist() == [[1, 5], [2, 5]]
    assert counts.tolist() == [1]
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its arguments are what counts
        interpolated(window[:, [0, 2, 2]] * [[[1, math.nan]]], np.array([3], np.int64))
    assert refused.value.args == (0, 1)


def test_metadata_tells_limits_and_what_is_added() -> None:
    said = model_metadata(LENIENT, ["3"])
    assert said["parameters"]["media"]["longest"] == 5
    assert said["outputs"][-1]["name"] == "interpolated"
    assert model_metadata(STRICT, ["3"])["outputs"][-1]["name"] == "confidence"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([WINDOW], "media takes windows"),
        ([LENGTH, WINDOW], "media takes windows"),
        ([WINDOW.model_copy(update={"shape": (-1, 4, 2)}), LENGTH], "media takes windows"),
    ],
)
def test_a_manifest_without_windows_and_lengths_is_refused(inputs: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        manifest("wear", inputs, [OUTPUT], media=SequenceMedia(input="window", longest=5))
    text = Tensor(name="text", datatype="BYTES", shape=(-1,))
    with pytest.raises(ValueError, match="needs the asset 'vocabulary'"):
        manifest("said", [text], [OUTPUT], media=TextMedia(input="text"))


def test_words_are_cut_and_numbered() -> None:
    known = Vocabulary(("the", "oven", "isn't", ",", "heiß"))
    assert known.cut("The oven, ISN'T 'Heiß'!") == [
        "the", "oven", ",", "isn't", "'", "heiß", "'", "!",
    ]  # fmt: skip
    assert known.numbers("The oven, ISN'T Hei\u00df!") == [2, 3, 5, 4, 6, UNKNOWN]
    assert known.numbers("HEISS") == [UNKNOWN]
    assert known.count == 7
    assert Vocabulary.of_json(json.loads(known.to_json())) == known
    tokens, lengths = padded_texts([[2, 3, 4], [], [5]])
    assert tokens.tolist() == [[2, 3, 4], [UNKNOWN, 0, 0], [5, 0, 0]]
    assert lengths.tolist() == [3, 1, 1]


@given(st.text(max_size=40))
def test_any_text_is_numbered_as_its_composed_form(text: str) -> None:
    import unicodedata

    known = Vocabulary(("é",))
    for form in ("NFC", "NFD"):
        assert known.numbers(unicodedata.normalize(form, text)) == known.numbers(text)


@pytest.mark.parametrize(
    "content",
    [None, {}, {"schema_version": "glassline.vocabulary/2"}, {"schema_version":
     "glassline.vocabulary/1", "tokenizer": "words", "lower": True, "words": ["a", "a"]}],
)  # fmt: skip
def test_what_is_no_vocabulary_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"wanted|once"):
        Vocabulary.of_json(content)


def test_windows_are_padded_behind() -> None:
    whole, lengths = padded([np.ones((2, 1)), np.ones((1, 1))])
    assert whole[:, :, 0].tolist() == [[1, 1], [1, 0]]
    assert lengths.tolist() == [2, 1]
