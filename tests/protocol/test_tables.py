"""CSV: what a spreadsheet writes comes in bit for bit; what does not fit is named by its place."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import GlasslineError, MalformedBody, TensorMismatch, TooLarge
from service.manifest import Manifest, Tensor
from service.protocol.tables import decode_csv, takes_table
from tests.protocol.manifests import ALL, NUMERIC, SERIES, TINY, manifest

NAMES = ("width", "height", "hole, mm")


def model(
    datatype: str, shape: tuple[int, ...], features: tuple[str, ...] | None = None, **more: Any
) -> Manifest:
    tensor = Tensor.model_validate(
        {"name": "x", "datatype": datatype, "shape": shape, "features": features, **more}
    )
    return manifest("parts", [tensor], [Tensor(name="p", datatype="FP32", shape=(-1, 2))])


TABLE = model("FP64", (-1, 3), NAMES)
NAMELESS = model("FP32", (-1, 3))
FREE = model("FP32", (-1, -1))
COLUMN = model("INT64", (-1,))
WHOLE = model("INT16", (-1, 2), ("a", "b"))
COUNTS = model("UINT64", (-1, 2))
HALF = model("FP16", (-1, 2), range=(-10.0, 10.0))
WINDOWS = model("FP32", (-1, 2, 2), ("flow", "current"))
FREE_WINDOWS = model("INT32", (-1, -1, 2))
NUMBERED = model("FP32", (-1, 2), ("1", "2"))
TABLES = (
    TABLE, NAMELESS, FREE, COLUMN, WHOLE, COUNTS, HALF, WINDOWS, FREE_WINDOWS, NUMBERED,
)  # fmt: skip

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def decoded(text: str, of: Manifest, max_rows: int, header: bool | None = None) -> Any:
    """The one input of a table."""
    (array,) = decode_csv(text, of, max_rows, header).values()
    return array


def written(rows: list[list[str]], ending: str = "\r\n") -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=ending).writerows(rows)
    return buffer.getvalue()


@given(
    rows=st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=20),
    order=st.permutations(range(3)),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_columns_are_found_by_name_and_numbers_are_kept_bit_for_bit(
    rows: list[tuple[float, ...]], order: list[int], ending: str
) -> None:
    shuffled = [[repr(row[i]) for i in order] for row in rows]
    named = decoded(written([[NAMES[i] for i in order], *shuffled], ending), TABLE, 20)
    np.testing.assert_array_equal(named, np.array(rows, np.float64), strict=True)
    assert named.flags.c_contiguous
    plain = written([[repr(cell) for cell in row] for row in rows], ending)
    assert decoded(plain, TABLE, 20).tobytes() == named.tobytes()


@pytest.mark.parametrize("datatype", [*NUMERIC, "FP16"])
def test_every_numeric_datatype_from_end_to_end_of_its_range(datatype: str) -> None:
    of = model(datatype, (-1, 2))
    dtype = decoded("0,1", of, 1).dtype
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    ends = [limits.min.item() if dtype.kind == "f" else limits.min, limits.max]
    array = decoded(f"{ends[0]},{ends[1]}\n", of, 1)
    assert array.tolist() == [[int(e) if dtype.kind in "iu" else float(e) for e in ends]]
    beyond = "1e309" if dtype.kind == "f" else str(int(limits.max) + 1)
    with pytest.raises(TensorMismatch, match=r"line 2 \(row 1\), column 2: got .*" + datatype):
        decoded(f"0,1\n1,{beyond}\n", of, 2)


def test_each_shape_that_is_a_table() -> None:
    assert decoded("5\n-6\n", COLUMN, 2).tolist() == [5, -6]
    assert decoded("x\n5\n", COLUMN, 2).tolist() == [5]  # one column bears the input's name
    assert decoded("1,2,3,4\n5,6,7,8\n", FREE, 2).shape == (2, 4)
    assert decoded(" 1 , 2\n\n\n", WHOLE, 1).tolist() == [[1, 2]]
    two = decoded("current,flow\n1,2\n3,4\n\n5,6\n7,8\n", WINDOWS, 2)
    assert two.tolist() == [[[2, 1], [4, 3]], [[6, 5], [8, 7]]]
    assert decoded("1,2\n3,4\n5,6\n", FREE_WINDOWS, 1).shape == (1, 3, 2)
    assert decoded("1,2\n\n3,4\n", FREE_WINDOWS, 2).tolist() == [[[1, 2]], [[3, 4]]]


def test_what_is_no_table() -> None:
    assert all(takes_table(of) for of in TABLES)
    others = (TINY, ALL, SERIES, model("BYTES", (-1, 1)), model("BOOL", (-1, 2)))
    assert not any(takes_table(of) for of in others)


def test_whether_the_first_row_is_a_header_is_never_guessed() -> None:
    with pytest.raises(MalformedBody, match="names or numbers.*header=present"):
        decoded("2,1\n5,6\n", NUMBERED, 2)
    assert decoded("2,1\n5,6\n", NUMBERED, 2, header=True).tolist() == [[6, 5]]
    assert decoded("2,1\n5,6\n", NUMBERED, 2, header=False).tolist() == [[2, 1], [5, 6]]
    with pytest.raises(TensorMismatch, match="line 1 .*column 'a': got 'a'"):
        decoded("a,b\n", WHOLE, 2, header=False)
    with pytest.raises(TensorMismatch, match="unknown column '1', '2'"):
        decoded("1,2\n3,4\n", WHOLE, 2, header=True)


@pytest.mark.parametrize(
    ("of", "body", "kind", "said"),
    [
        (TABLE, "", MalformedBody, "got no rows"),
        (TABLE, "\n\n", MalformedBody, "got no rows"),
        (TABLE, 'width,height,"hole, mm"\n', MalformedBody, "got no rows"),
        (TABLE, 'width,"hole, mm"\n1,2\n', TensorMismatch, "column 'height' is missing"),
        (TABLE, 'a,width,height,"hole, mm"\n1,2,3,4\n', TensorMismatch, "unknown column 'a'"),
        (TABLE, "width,height,width\n1,2,3\n", TensorMismatch, "column 'width' twice"),
        (TABLE, "1,2,3\n1,2\n", MalformedBody, "line 2 (row 1): got 2 fields, wanted 3"),
        (TABLE, "1,2,3\n1,2,3,4\n", MalformedBody, "line 2 (row 1): got 4 fields, wanted 3"),
        (TABLE, "1;2;3\n", TensorMismatch, "unknown column '1;2;3'"),
        (TABLE, "1,2,3\n1,two,3\n", TensorMismatch, "line 2 (row 1), column 'height': got 'two'"),
        (TABLE, 'height,"hole, mm",width\n1,nan,3\n', TensorMismatch,
         "line 2 (row 0), column 'hole, mm': got nan"),
        (TABLE, "1,2,-inf\n", TensorMismatch, "column 'hole, mm': got -inf"),
        (TABLE, "1,,3\n", TensorMismatch, "line 1 (row 0), column 'height': got ''"),
        (TABLE, "1_0,2,3\n", TensorMismatch, "column 'width': got '1_0'"),
        (TABLE, "1,2,٣\n", TensorMismatch, "column 'hole, mm': got '٣'"),
        (TABLE, '1,2,"3\n', MalformedBody, "line 1: unexpected end of data"),
        (TABLE, '1,2,"3"4\n', MalformedBody, "expected after"),
        (TABLE, "1,2,3\n\n4,5,6\n", MalformedBody, "line 2: got an empty line"),
        (TABLE, "\n1,2,3\n", MalformedBody, "line 1: got an empty line"),
        (TABLE, "1" + ",1" * 5000, MalformedBody, "line 1 (row 0): got 5001 fields, wanted 3"),
        (TABLE, "1,2," + "9" * 200_000, MalformedBody, "field larger than field limit"),
        (NAMELESS, "a,b,c\n1,2,3\n", TensorMismatch, "names no features"),
        (NAMELESS, "1,2,1e40\n", TensorMismatch, "column 3: got 1e+40, wanted a number from -3.4"),
        (FREE, "1,2\n1,2,3\n", MalformedBody, "line 2 (row 1): got 3 fields, wanted 2"),
        (WHOLE, "1,2.5\n", TensorMismatch, "column 'b': got '2.5', wanted a whole number from"),
        (WHOLE, "1,40000\n", TensorMismatch, "got 40000, wanted a whole number from -32768 to"),
        (WHOLE, f"1,{'9' * 5000}\n", TensorMismatch, "column 'b': got '9999"),
        (COUNTS, "1,-1\n", TensorMismatch, "column 2: got '-1', wanted a whole number from 0 to"),
        (HALF, "1,11\n", TensorMismatch, "column 2: got 11.0, wanted a number from -10 to 10"),
        (WINDOWS, "1,2\n", TensorMismatch, "window 0, which begins at line 1: got 1 rows, wanted"),
        (WINDOWS, "1,2\n" * 4, TensorMismatch, "got 4 rows, wanted 2. Send as many rows for each"),
        (WINDOWS, "1,2\n3,4\n\n5,6\n", TensorMismatch, "window 1, which begins at line 4: got 1"),
        (WINDOWS, "1,2\n3,x\n", TensorMismatch, "line 2, column 'current': got 'x'"),
        (WINDOWS, "\n1,2\n3,4\n", MalformedBody, "line 1: got an empty line"),
        (FREE_WINDOWS, "1,2\n\n3,4\n5,6\n", TensorMismatch, "window 1, which begins at line 3"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_named_by_its_place(
    of: Manifest, body: str, kind: type[GlasslineError], said: str
) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        decoded(body, of, 100)


def test_a_batch_that_is_too_large_is_refused_where_it_becomes_so() -> None:
    with pytest.raises(TooLarge, match="line 3: got more than 2 rows.*GLASSLINE_MAX_BATCH_ROWS"):
        decoded("1,2,3\n" * 3 + "rubbish", TABLE, 2)
    with pytest.raises(TooLarge, match="more than 1 windows"):
        decoded("1,2\n3,4\n\n1,2\n3,4\n", WINDOWS, 1)
    assert decoded("1,2\n" * 500, FREE_WINDOWS, 1).shape == (1, 500, 2)


CELLS = st.sampled_from(
    ["1", "-2.5", "1e3", "", " 7 ", "nan", "x", "a", "b", "width", '"', '""', '"1"', "1_0", "²"]
)
ROWS = st.lists(CELLS, max_size=4).map(",".join)
BODIES = st.lists(ROWS, max_size=6).map("\n".join)


@settings(max_examples=500, deadline=None)
@given(BODIES | st.text(max_size=80), st.sampled_from(TABLES), st.sampled_from([None, True, False]))
def test_any_text_gives_a_fitting_tensor_or_a_glassline_error(
    body: str, of: Manifest, header: bool | None
) -> None:
    tensor = of.inputs[0]
    try:
        array = decoded(body, of, 5, header)
    except GlasslineError:
        return
    assert len(array.shape) == len(tensor.shape)
    assert 1 <= len(array) <= 5
    for got, wanted in zip(array.shape, tensor.shape, strict=True):
        assert got == wanted or (wanted == -1 and got >= 1)
    assert np.isfinite(array).all()
