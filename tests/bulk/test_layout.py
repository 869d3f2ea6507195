"""Rows of files to the model's inputs, by the manifests of real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.inputs import open_inputs
from service.bulk.layout import RowDecoder
from service.errors import GlasslineError, TensorMismatch, UnsupportedMediaType
from service.store import ModelStore
from tests.bulk.models import SIDE, pictures, png, release_models


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    home = tmp_path_factory.mktemp("layout")
    release_models(home)
    return ModelStore(home)


def decoded(store: ModelStore, path: Path, model: str) -> list[Any]:
    """Of each row its only input, or the error."""
    manifest = store.get(model).manifest
    inputs = open_inputs(path, manifest)
    decoder = RowDecoder(manifest, inputs.layout, 10**6)
    found: list[Any] = []
    for piece in inputs.pieces():
        for row in piece.to_pylist():
            try:
                (value,) = decoder.inputs(row).values()
                found.append(value)
            except GlasslineError as error:
                found.append(str(error))
    assert len(found) == inputs.rows
    return found


FLAT = pa.list_(pa.float32())


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"x": pa.array([[3.5, 2.5], [1, 2]])}, [[3.5, 2.5], [1, 2]]),
        ({"x": pa.array([[3.5, 2.5]], pa.list_(pa.float32(), 2))}, [[3.5, 2.5]]),
        ({"height": [2.5], "width": [3.5], "lot": ["a"]}, [[3.5, 2.5]]),
        ({"width": pa.array([7], pa.int32()), "height": pa.array([1], pa.int32())}, [[7, 1]]),
    ],
)
def test_tables_by_list_and_by_column(
    store: ModelStore, tmp_path: Path, columns: dict[str, Any], wanted: list[Any]
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    found = decoded(store, path, "parts")
    assert [one.dtype for one in found] == [np.float64] * len(wanted)
    assert [one.tolist() for one in found] == [[row] for row in wanted]


def test_windows_nested_or_flat(store: ModelStore, tmp_path: Path) -> None:
    window = np.arange(10, dtype=np.float32).reshape(5, 2)
    path = tmp_path / "windows.parquet"
    for column in (pa.array([window.tolist()]), pa.array([window.ravel().tolist()], FLAT)):
        pq.write_table(pa.table({"x": column}), path)
        (found,) = decoded(store, path, "flow")
        assert np.array_equal(found, window[None])
        assert found.dtype == np.float32


def test_pictures_as_bytes_names_numbers_and_a_folder(store: ModelStore, tmp_path: Path) -> None:
    three = pictures(3)
    folder = tmp_path / "folder"
    folder.mkdir()
    for at, one in enumerate(three):
        (folder / f"{at}.png").write_bytes(png(one))
    path = tmp_path / "pictures.parquet"
    tables = [
        {"image": [png(one) for one in three]},
        {"path": [f"folder/{at}.png" for at in range(3)]},
        {"image": pa.array([one.tolist() for one in three[:, None]])},
        {"image": pa.array([one.ravel().tolist() for one in three])},
    ]
    for table in tables:
        pq.write_table(pa.table(table), path)
        assert np.array_equal(np.concatenate(decoded(store, path, "sides")), three[:, None])
    assert np.array_equal(np.concatenate(decoded(store, folder, "sides")), three[:, None])


@pytest.mark.parametrize(
    ("model", "columns", "words"),
    [
        ("parts", {"x": pa.array([[1.0]])}, "has shape (1, 1), wanted a list"),
        ("parts", {"x": pa.array([[1.0, None]])}, "none missing"),
        ("parts", {"x": pa.array([None], FLAT)}, "has nothing in this row"),
        ("parts", {"x": pa.array([[1.0, float("nan")]])}, "has nan at element 1"),
        ("parts", {"width": [1.0], "height": pa.nulls(1, pa.float64())}, "in column 'height'"),
        ("flow", {"x": pa.array([[[1.0, 2.0], [3.0]]])}, "ragged"),
        ("flow", {"x": pa.array([[1.0, 2.0, 3.0]])}, "has 3 values in this row"),
        ("flow", {"x": pa.array([[[1e39, 2.0]]])}, "has inf at element 0"),
        ("sides", {"image": pa.array([[256] * SIDE**2])}, "from 256 to 256, wanted 0 to 255"),
        ("sides", {"image": pa.array([[0.5] * SIDE**2])}, "wanted whole numbers of UINT8"),
        ("sides", {"image": [b"GIF89a"]}, "wanted a whole PNG or JPEG file"),
        ("sides", {"path": ["nowhere.png"]}, "cannot be read (No such file"),
        ("words", {"x": pa.array([[None]], pa.list_(pa.string()))}, "has null at element 0"),
    ],
)  # fmt: skip
def test_a_row_that_is_bad_says_why(
    store: ModelStore, tmp_path: Path, model: str, columns: dict[str, Any], words: str
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    (found,) = decoded(store, path, model)
    assert isinstance(found, str)
    assert words in found


def test_tables_as_csv_with_and_without_names(store: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for text in ("height,id,width\n2.5,a,3.5\n1,b,2\n\n", "3.5,2.5\n2,1\n"):
        path.write_text(text)
        assert [one.tolist() for one in decoded(store, path, "parts")] == [[[3.5, 2.5]], [[2, 1]]]
    path.write_text("width,height\n1\n1,x\n")
    assert all(isinstance(one, str) for one in decoded(store, path, "parts"))


def test_the_digest_follows_the_contents(store: ModelStore, tmp_path: Path) -> None:
    manifest = store.get("sides").manifest
    (tmp_path / "one.png").write_bytes(png(pictures(2)[0]))
    path = tmp_path / "names.parquet"
    pq.write_table(pa.table({"path": ["one.png"]}), path)
    before = [open_inputs(one, manifest).sha256 for one in (path, tmp_path)]
    assert before == [open_inputs(one, manifest).sha256 for one in (path, tmp_path)]
    (tmp_path / "one.png").write_bytes(png(pictures(2)[1]))
    after = [open_inputs(one, manifest).sha256 for one in (path, tmp_path)]
    assert not set(before) & set(after)


def test_files_that_do_not_fit_are_refused_whole(store: ModelStore, tmp_path: Path) -> None:
    path, table = tmp_path / "rows.parquet", tmp_path / "rows.csv"
    pq.write_table(pa.table({"length": [1.0], "id": [1]}), path)
    with pytest.raises(TensorMismatch, match=r"got columns 'length', wanted 'x' .*'width'"):
        open_inputs(path, store.get("parts").manifest)
    with pytest.raises(TensorMismatch, match=r"'image' \(bytes of PNG"):
        open_inputs(path, store.get("sides").manifest)
    with pytest.raises(TensorMismatch, match="a folder of pictures"):
        open_inputs(tmp_path, store.get("parts").manifest)
    table.write_text("width,depth\n1,2\n")
    with pytest.raises(TensorMismatch, match="got columns width, depth, wanted width, height"):
        open_inputs(table, store.get("parts").manifest)
    with pytest.raises(UnsupportedMediaType, match="takes no rows of a table"):
        open_inputs(table, store.get("words").manifest)
