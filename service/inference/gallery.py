"""The nearest of earlier vectors: which parts looked like this one.

Up to EXACT vectors every one is looked at. Of more an index is asked (a graph of neighbours,
Malkov and Yashunin 2018, arXiv:1603.09320), which is quick and now and then misses a neighbour;
the distances that it answers are exact either way.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import CorruptModel, GalleryError, Unavailable
from service.manifest import Gallery
from service.store import StoredModel

#: Vectors up to which every one is looked at.
EXACT = 100_000
#: Vectors that are compared at once: their distances to some queries stay in the cache.
_BLOCK = 8192
#: Candidates beyond k whose distance is worked out anew: products round, differences do not.
_SPARE = 16
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest of one query, the nearest first; `distances` in the gallery's metric."""

    ids: Sequence[str]
    distances: Sequence[float]


class VectorGallery:
    """The gallery of one model version. Files are opened at the first search.

    Args:
        model: whose manifest has a gallery.
    """

    def __init__(self, model: StoredModel) -> None:
        gallery = model.manifest.gallery
        assert gallery is not None  # whoever calls has looked
        self.about: Gallery = gallery
        self._model = model
        self._lock = threading.Lock()
        self._vectors: Vectors | None = None
        self._ids: list[str] = []
        self._index: Any = None

    @property
    def exact(self) -> bool:
        """Whether every vector is looked at."""
        return self.about.index is None

    def search(self, queries: NDArray[Any], k: int) -> list[Neighbours]:
        """The k nearest of each query; fewer where there are fewer.

        Args:
            queries: (n, d), as the model's output gives them.
            k: at least 1.

        Raises:
            GalleryError: another number of values, a value that is no number, or for the cosine a
                vector of length 0.
            CorruptModel: the gallery's files are not what they must be.
            Unavailable: the package that searches so many is not installed.
        """
        with self._lock:
            if self._vectors is None:
                self._open()
        vectors = self._vectors
        assert vectors is not None
        asked = prepared(queries, self.about, f"{self._model.manifest.reference}: vector")
        k = min(k, len(vectors))
        wanted = min(len(vectors), k + _SPARE)
        if self._index is not None:
            found = np.asarray(self._index.search(asked, wanted).keys).reshape(len(asked), -1)
        else:
            found = nearest(vectors, asked, wanted)
        return [self._sorted(query, some, k) for query, some in zip(asked, found, strict=True)]

    def _sorted(self, query: Vectors, some: NDArray[Any], k: int) -> Neighbours:
        """Exact distances; of equals the one that came first."""
        assert self._vectors is not None
        some = np.sort(some.astype(np.intp))
        apart = self._vectors[some].astype(np.float64) - query
        squared = np.square(apart).sum(axis=1)
        # Of vectors of length 1 the cosine is 1 - half the squared distance.
        distances = squared / 2 if self.about.metric == "cosine" else np.sqrt(squared)
        order = np.argsort(distances, kind="stable")[:k]
        return Neighbours([self._ids[at] for at in some[order]], distances[order].tolist())

    def _open(self) -> None:
        vectors, ids = read(self._model)
        if self.about.index is not None:
            path = self._model.asset(self.about.index)
            assert path is not None  # the manifest says so
            self._index = usearch().Index.restore(str(path), view=True)
        self._vectors, self._ids = vectors, ids


def read(model: StoredModel) -> tuple[Vectors, list[str]]:
    """Vectors (N, d), mapped from the file, and their ids.

    Raises:
        CorruptModel: they are not what the manifest says.
    """
    gallery = model.manifest.gallery
    assert gallery is not None
    vectors_file, ids_file = model.asset(gallery.vectors), model.asset(gallery.ids)
    assert vectors_file is not None
    assert ids_file is not None
    where = f"{model.manifest.reference}: gallery"
    try:
        vectors = np.load(vectors_file, mmap_mode="r", allow_pickle=False)
        ids = orjson.loads(ids_file.read_bytes())
    except (ValueError, OSError, EOFError) as error:
        raise CorruptModel(f"{where}: cannot be read ({error}).") from None
    shape = (gallery.count, gallery.dimension)
    if vectors.dtype != np.float32 or vectors.shape != shape:
        raise CorruptModel(f"{where}: got {vectors.dtype} {vectors.shape}, wanted float32 {shape}.")
    if not isinstance(ids, list) or len(ids) != gallery.count:
        raise CorruptModel(f"{where}: wanted a list of {gallery.count} ids.")
    return vectors, ids


def prepared(vectors: NDArray[Any], gallery: Gallery, where: str) -> Vectors:
    """Vectors as they are compared: float32, and of length 1 for the cosine.

    Raises:
        GalleryError: another number of values than the gallery's, a value that is no number, or
            for the cosine a vector of length 0.
    """
    if vectors.ndim != 2 or vectors.shape[1] != gallery.dimension:
        raise GalleryError(
            f"{where}: got {vectors.shape}, wanted (n, {gallery.dimension}): the gallery holds "
            "vectors of another model. Build one with `glassline models gallery`."
        )
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        raise GalleryError(f"{where}: holds NaN or Infinity. Check the input's values.")
    if gallery.metric != "cosine":
        return vectors
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if (lengths == 0).any():
        raise GalleryError(
            f"{where}: row {int(np.argmin(lengths))} has length 0 and no direction; "
            "build the gallery with --metric euclidean."
        )
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit


def nearest(vectors: Vectors, queries: Vectors, k: int) -> NDArray[np.intp]:
    """(n, k) places of the k nearest vectors of each query, in no order; every one is looked at.

    |v - q|² = |v|² - 2 v.q + |q|², the last of which is the same for all. All are measured from
    the middle of the first vectors: far from it the products would round neighbours together.
    """
    middle = np.asarray(vectors[:_BLOCK]).mean(axis=0, dtype=np.float64).astype(np.float32)
    queries = queries - middle
    best_places = np.empty((len(queries), 0), np.intp)
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] - middle
        apart = np.einsum("nd,nd->n", block, block) - 2 * (queries @ block.T)
        places = np.broadcast_to(np.arange(start, start + len(block)), apart.shape)
        best = np.concatenate([best, apart], axis=1)
        best_places = np.concatenate([best_places, places], axis=1)
        if best.shape[1] > k:
            some = np.argpartition(best, k - 1, axis=1)[:, :k]
            best = np.take_along_axis(best, some, axis=1)
            best_places = np.take_along_axis(best_places, some, axis=1)
    return best_places


def usearch() -> Any:
    """The package that searches more than EXACT vectors.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import usearch.index as package
    except ImportError:
        raise Unavailable(
            f"a gallery of more than {EXACT} vectors needs a package that is not installed "
            "(usearch). Install it with: pip install 'glassline[similar]'"
        ) from None
    return package
