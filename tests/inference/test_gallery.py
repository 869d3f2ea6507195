"""Neighbours are the nearest, in every block, metric and number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from service.errors import CorruptModel, GalleryError, Unavailable
from service.inference import gallery as room
from service.inference.gallery import VectorGallery, nearest, prepared
from service.manifest import Gallery
from service.store import StoredModel
from tests.small_detector import release_detector

RANDOM = np.random.default_rng(6)


def held(tmp_path: Path, vectors: np.ndarray, metric: Any = "euclidean") -> VectorGallery:
    """A gallery beside a model, without the store: its files alone count."""
    stored = release_detector(tmp_path, "windows")
    about = Gallery(
        output="latent", metric=metric, count=len(vectors), dimension=vectors.shape[1],
        graph=stored.manifest.graphs["predict"].sha256,
    )  # fmt: skip
    np.save(tmp_path / "v.npy", prepared(vectors, about, "here"))
    (tmp_path / "i.json").write_bytes(orjson.dumps([f"part {at}" for at in range(len(vectors))]))
    part = stored.manifest.assets["calibration"]
    assets = {
        "gallery": part.model_copy(update={"file": "v.npy"}),
        "gallery-ids": part.model_copy(update={"file": "i.json"}),
    }
    changed = stored.manifest.model_copy(update={"gallery": about, "assets": assets})
    return VectorGallery(StoredModel(changed, tmp_path))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
def test_the_nearest_are_those_of_scipy(n: int, queries: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, 4)).astype(np.float32)
    asked = random.normal(size=(queries, 4)).astype(np.float32)
    k = min(k, n)
    block, room._BLOCK = room._BLOCK, 7
    try:
        found = nearest(vectors, asked, k)
    finally:
        room._BLOCK = block
    apart = cdist(asked, vectors)
    got = np.sort(np.take_along_axis(apart, found, axis=1), axis=1)
    assert got == pytest.approx(np.sort(apart, axis=1)[:, :k], rel=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_exact_and_a_vector_is_at_distance_0_of_itself(
    metric: str, tmp_path: Path
) -> None:
    # Far from the origin products round: near neighbours are told apart all the same.
    vectors = (1e4 + RANDOM.normal(size=(300, 2))).astype(np.float32)
    gallery = held(tmp_path, vectors, metric)
    found = gallery.search(vectors[[5, 9]], 3)
    wanted = cdist(vectors[[5, 9]].astype(np.float64), vectors.astype(np.float64), metric)
    near = 2e-11 if metric == "cosine" else 1e-6
    for row, (at, one) in enumerate(zip((5, 9), found, strict=True)):
        assert one.distances == pytest.approx(np.sort(wanted[row])[:3], abs=near)
        assert f"part {at}" in one.ids
        assert one.distances[0] == pytest.approx(0, abs=1e-9)
    assert len(gallery.search(vectors[:1], 1000)[0].ids) == 300


def test_vectors_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    gallery = held(tmp_path, RANDOM.normal(size=(20, 2)).astype(np.float32), "cosine")
    for bad, words in (
        (np.ones((1, 3), np.float32), r"wanted \(n, 2\): the gallery holds vectors of another"),
        (np.array([[np.nan, 1]], np.float32), "holds NaN or Infinity"),
        (np.zeros((1, 2), np.float32), "row 0 has length 0"),
    ):
        with pytest.raises(GalleryError, match=words):
            gallery.search(bad, 1)


def test_files_that_are_not_what_the_manifest_says_are_refused(tmp_path: Path) -> None:
    gallery = held(tmp_path, RANDOM.normal(size=(20, 2)).astype(np.float32))
    (tmp_path / "i.json").write_bytes(b"[]")
    with pytest.raises(CorruptModel, match="wanted a list of 20 ids"):
        gallery.search(np.ones((1, 2), np.float32), 1)
    (tmp_path / "v.npy").write_bytes(b"nothing")
    with pytest.raises(CorruptModel, match="cannot be read"):
        gallery.search(np.ones((1, 2), np.float32), 1)


def test_an_index_finds_what_looking_at_each_finds(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    from service.gallery_building import _index

    vectors = RANDOM.normal(size=(3000, 16)).astype(np.float32)
    gallery = held(tmp_path, vectors)
    exact = gallery.search(vectors[:50] + 0.01, 5)
    (tmp_path / "x.usearch").write_bytes(_index(vectors))
    about = gallery.about.model_copy(update={"index": "gallery-index"})
    part = gallery._model.manifest.assets["gallery"].model_copy(update={"file": "x.usearch"})
    assets = {**gallery._model.manifest.assets, "gallery-index": part}
    changed = gallery._model.manifest.model_copy(update={"gallery": about, "assets": assets})
    indexed = VectorGallery(StoredModel(changed, tmp_path))
    assert not indexed.exact
    quick = indexed.search(vectors[:50] + 0.01, 5)
    same = [len({*a.ids} & {*b.ids}) for a, b in zip(exact, quick, strict=True)]
    assert np.mean(same) / 5 > 0.95
    assert quick[0].distances[0] == pytest.approx(exact[0].distances[0])


def test_where_the_package_is_missing_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "usearch.index", None)
    with pytest.raises(Unavailable, match=r"pip install 'glassline\[similar\]'"):
        room.usearch()
