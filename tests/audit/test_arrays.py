"""Arrays as bytes: numpy reads what we write, and the digest is of the elements."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from service.audit.arrays import (
    decode_array,
    described,
    described_part,
    elements,
    encode_array,
    raw_bytes,
)
from service.audit.canonical import canonical

NUMBERS = st_numpy.arrays(
    st_numpy.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf"),
    st_numpy.array_shapes(min_dims=0, max_side=5, min_side=0),
)


@given(NUMBERS)
def test_numpys_own_bytes_and_back(array: NDArray[np.generic]) -> None:
    written = io.BytesIO()
    np.save(written, np.ascontiguousarray(array).reshape(array.shape or (1,)), allow_pickle=False)
    assert encode_array(array) == written.getvalue()
    back = decode_array(encode_array(array))
    assert back.dtype == array.dtype
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


@given(NUMBERS)
def test_elements_come_back_from_their_raw_bytes(array: NDArray[np.generic]) -> None:
    if array.dtype.itemsize > 8:  # longer than the protocol's
        return
    datatype = described("x", array, content=False)["datatype"]
    found = np.array(elements(datatype, raw_bytes(array)), array.dtype.newbyteorder("="))
    assert np.array_equal(found, array.ravel(), equal_nan=array.dtype.kind == "f")


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_texts_come_back_from_their_raw_bytes(texts: list[str]) -> None:
    assert elements("BYTES", raw_bytes(np.array(texts, object))) == texts


def test_text_is_stored_without_pickle() -> None:
    labels = np.array(["good", "Prüfling"], dtype=object)
    assert decode_array(encode_array(labels)).tolist() == ["good", "Prüfling"]
    pickled = io.BytesIO()
    np.save(pickled, labels, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        decode_array(pickled.getvalue())


def test_the_digest_is_of_little_endian_elements_whatever_the_machine_holds() -> None:
    little, big = np.array([1, 2], "<u2"), np.array([1, 2], ">u2")
    assert raw_bytes(little) == raw_bytes(big) == b"\x01\x00\x02\x00"
    entry = described("x", little, content=True)
    assert entry == {
        "name": "x",
        "datatype": "UINT16",
        "shape": [2],
        "sha256": hashlib.sha256(b"\x01\x00\x02\x00").hexdigest(),
        "base64": "AQACAA==",
    }


def test_text_is_digested_with_its_lengths() -> None:
    assert raw_bytes(np.array(["ab", "ü"], dtype=object)) == (
        b"\x02\x00\x00\x00ab\x02\x00\x00\x00\xc3\xbc"
    )


@given(NUMBERS, st.text(min_size=1, max_size=8), st.booleans())
def test_a_tensor_is_described_the_same_in_parts(
    array: NDArray[np.generic], name: str, content: bool
) -> None:
    whole = described(name, array, content=content)
    assert canonical([described_part(name, array, content=content)]) == canonical([whole])
