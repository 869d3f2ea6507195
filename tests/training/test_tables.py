"""Tables are read as they stand, and what nothing can be learnt from is refused by its place."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from service.errors import GlasslineError
from training.data import tables
from training.data.table_columns import BadTable
from training.data.table_files import BadFile, read_table, taken_for_missing
from training.options import WrongOption

PARTS = """\
serial;width;colour;heat;verdict
a1;1.5;red;10;good
a2;2.5;blue;;bad
a3;NA;red;30;good
a4;4.5;;40;bad
"""


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "parts.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def test_numbers_kinds_and_gaps_are_told_apart(file: Any) -> None:
    table = tables.load(file(PARTS), "verdict", drop=["serial"])
    assert (table.task, table.labels, table.target) == ("classify", ("bad", "good"), "verdict")
    assert table.columns == ("width", "colour", "heat")
    assert table.kinds == {1: ("blue", "red", "missing")}
    assert table.truth.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(
        table.rows, np.array([[1.5, 1, 10], [2.5, 0, np.nan], [np.nan, 1, 30], [4.5, 2, 40]])
    )
    assert table.rows.dtype == np.float32


@pytest.mark.parametrize(
    ("target", "task", "kind", "labels"),
    [
        (["1", "0", "1"], "auto", "classify", ("0", "1")),
        (["10", "9", "10"], "auto", "classify", ("9", "10")),
        (["1", "0", "1"], "regress", "regress", ()),
        (["1.5", "0", "1"], "auto", "regress", ()),
        (["1.5", "0", "0"], "classify", "classify", ("0", "1.5")),
        (["yes", "no", "no"], "auto", "classify", ("no", "yes")),
        ([str(n) for n in range(30)], "auto", "regress", ()),
    ],
)
def test_the_task_is_that_of_the_target(
    target: list[str], task: Any, kind: str, labels: tuple[str, ...], file: Any
) -> None:
    rows = "".join(f"{at},{value}\n" for at, value in enumerate(target))
    table = tables.load(file("x,y\n" + rows), "y", task)
    assert (table.task, table.labels) == (kind, labels)
    if kind == "regress":
        assert table.truth.tolist() == [[float(value)] for value in target]


def test_numbers_may_be_taken_for_kinds(file: Any) -> None:
    table = tables.load(file("k,y\n1,a\n2,b\n1,a\n"), "y", categorical=["k"])
    assert table.kinds == {0: ("1", "2")}
    assert table.rows.tolist() == [[0], [1], [0]]


def test_rows_without_a_target_are_left_out_where_that_is_asked_for(file: Any) -> None:
    path = file("x,y\n1,a\n2,\n3,b\n4,?\n")
    table = tables.load(path, "y", skip_missing_target=True)
    assert table.rows.tolist() == [[1], [3]]
    with pytest.raises(BadTable, match=r"target 'y' is missing in 2 rows \(lines 3, 5\)"):
        tables.load(path, "y")


MANY = "".join(f"n{at},{at % 2}\n" for at in range(60))


@pytest.mark.parametrize(
    ("text", "words", "error", "message"),
    [
        ("x,y\n1,a\n", {"target": None}, WrongOption, "--target: which column .*x, y"),
        ("x,y\n1,a\n", {"target": "z"}, WrongOption, "--target: .*no column 'z', but: x, y"),
        ("x,y\n1,a\n", {"drop": ["q"]}, WrongOption, "--drop: .*no column 'q'"),
        ("x,y\n1,a\n", {"drop": ["y"]}, WrongOption, "'y' is the target"),
        ("x,y\n1,a\n", {"categorical": ["q"]}, WrongOption, "--categorical: .*no column 'q'"),
        ("x,y\n1,a\n2,a\n", {}, BadTable, "target 'y' is 'a' in every row, wanted two classes"),
        ("x,y\n1,2.5\n2,2.5\n", {}, BadTable, "target 'y' is 2.5 in every row"),
        ("x,y\n1,a\n1,b\n", {}, BadTable, "column 'x' is '1' in every row.*--drop x"),
        ("x,y\n,a\nNA,b\n", {}, BadTable, "column 'x' is empty in every row"),
        ("y\na\nb\n", {}, BadTable, "no column besides the target 'y'"),
        ("x,y\n1,\n2,\n", {"skip_missing_target": True}, BadTable, "missing in every row"),
        ("x,y\n1,a\n1e99,b\n", {}, BadTable, "line 3, column 'x': got '1e99', wanted a finite"),
        ("x,y\n1,a\ninf,b\n", {}, BadTable, "line 3, column 'x': got 'inf'"),
        ("x,y\n1,a\n-1e30,b\n", {}, BadTable, "got '-1e30', wanted a finite number"),
        ("x,y\n1,a\n2,b\n3x,a\n", {}, BadTable, "'x' holds numbers, but line 4 says '3x'"),
        ("x,y\n1,1.5\n2,inf\n", {}, BadTable, "target 'y' holds 'inf', wanted finite numbers"),
        ("x,y\n1,a\n2,b\n", {"task": "regress"}, BadTable, "target 'y' holds 'a', wanted numbers"),
        ("x,y\n" + MANY, {}, BadTable, "'x' has 60 different texts in 60 rows.*'n0'.*--drop x"),
        ("x,y\n1,a\n2\n", {}, BadFile, "line 3: got 1 fields, wanted 2"),
        ("x,x\n1,a\n", {}, BadFile, "columns named twice: x"),
        ("x,\n1,a\n", {}, BadFile, "column 2 has no name"),
        ("x,y\n", {}, BadFile, "got 1 lines, wanted a header row"),
        ("", {}, BadFile, "got 0 lines"),
        (b"x,y\n\xff,a\n", {}, BadFile, "byte 4 is no UTF-8"),
        ("x,y\n\0,a\n", {}, BadFile, "NUL"),
        ('x,y\n"1,a\n', {}, BadFile, "line 2: unexpected end of data"),
    ],
)
def test_bad_tables_are_refused_in_words(
    text: str | bytes, words: dict[str, Any], error: type[Exception], message: str, file: Any
) -> None:
    with pytest.raises(error, match=message):
        tables.load(file(text), **{"target": "y", **words})


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(WrongOption, match="'nowhere.csv' is no file.*breast_cancer, wine"):
        tables.load("nowhere.csv", "y")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (["a"] * 10, "got 10 rows, wanted at least 20"),
        (["a"] * 40 + ["b"] * 3, r"fewer than 5 rows: 'b' \(3\)"),
    ],
)
def test_too_few_rows_are_refused(truth: list[str], message: str, file: Any) -> None:
    truth = truth + ["b"] * (len(truth) == 10)
    rows = "".join(f"{at},{value}\n" for at, value in enumerate(truth))
    with pytest.raises(BadTable, match="got 11 rows" if len(truth) == 11 else message):
        tables.split(tables.load(file("x,y\n" + rows), "y"))


@pytest.mark.parametrize("name", list(tables.BUNDLED))
def test_bundled_tables_are_scikit_learns(name: str) -> None:
    table = tables.load(name)
    bunch = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    np.testing.assert_array_equal(table.rows, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(table.truth.reshape(-1), bunch.target)
    parts = tables.split(table)
    every = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(every.tolist()) == list(range(len(table.rows)))
    share = [len(part) / len(every) for part in (parts.train, parts.validation, parts.test)]
    assert share == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    if table.task == "classify":
        for part in (parts.train, parts.validation, parts.test):
            assert len(np.unique(table.truth[part])) == len(table.labels)


def test_a_bundled_table_has_its_own_target_and_task() -> None:
    with pytest.raises(WrongOption, match="--target: table 'wine' has its own"):
        tables.load("wine", "class")
    with pytest.raises(WrongOption, match="--task: table 'wine' is for classify"):
        tables.load("wine", task="regress")


def test_parquet_says_what_it_needs(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadFile, match="Install it with: pip install pyarrow, or save .* as CSV"):
        tables.load(file(b"PAR1", "parts.parquet"), "y")


def test_parquet_is_read_as_csv_is(tmp_path: Path, file: Any) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {"x": [1.5, None, 3.0], "k": ["red", "blue", None], "y": ["a", "b", "a"]}
    parquet.write_table(arrow.table(rows), tmp_path / "parts.parquet")
    table = tables.load(str(tmp_path / "parts.parquet"), "y")
    same = tables.load(file("x,k,y\n1.5,red,a\n,blue,b\n3.0,,a\n"), "y")
    np.testing.assert_array_equal(table.rows, same.rows)
    assert (table.kinds, table.labels) == (same.kinds, same.labels)
    with pytest.raises(BadFile, match="no Parquet"):
        tables.load(file(b"PAR1 nothing", "bad.parquet"), "y")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=8)
NAMES = st.lists(CELLS.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True)


@given(data=st.data(), names=NAMES)
def test_any_cells_come_back_as_they_were_written(
    data: st.DataObject, names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = st.lists(CELLS, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    path.write_text(text.getvalue(), newline="")
    counts = {one: text.getvalue().split("\n", 1)[0].count(one) for one in ",;\t"}
    if counts[","] < max(counts.values()):  # names full of semicolons
        return
    cells = read_table(path)
    assert list(cells.columns) == names
    for at, name in enumerate(names):
        assert cells.columns[name] == [line[at].strip() for line in rows]


@given(body=st.binary(max_size=80))
def test_any_bytes_are_a_table_or_a_refusal(
    body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"x,y\n" + body)
    try:
        table = tables.load(str(path), "y")
    except GlasslineError:
        return
    assert len(table.rows) == len(table.truth)
    assert np.isnan(table.rows).sum() + np.isfinite(table.rows).sum() == table.rows.size


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "null", "None", "?"])
def test_what_people_write_where_nothing_is(cell: str) -> None:
    assert taken_for_missing(cell)
    assert not taken_for_missing(cell + "1")
