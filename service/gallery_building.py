"""Galleries: vectors of earlier inputs, computed by the graph that is served, beside a model."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from service.audit import search
from service.audit.arrays import decode_array
from service.audit.store import RecordStore
from service.audit.table_export import pages
from service.errors import Conflict, GalleryError, NotFound
from service.inference import gallery as searched
from service.inference.gallery import EXACT, Vectors, prepared, usearch
from service.inference.session import Session
from service.inference.translator import Translator, warm
from service.manifest import Gallery, Manifest
from service.past import fail_safe_of
from service.revision import Change, revised
from service.row_files import open_rows
from service.settings import Settings
from service.store import ModelStore, StoredModel

VECTORS, IDS, INDEX = "gallery.npy", "gallery-ids.json", "gallery.usearch"
#: Role of the index of a gallery that is too large to be looked through.
INDEX_ROLE = "gallery-index"
#: Told vectors done and, where that is known, in all.
Progress = Callable[[int, int | None], None]
#: Ids and inputs of some rows.
Batches = Iterator[tuple[Sequence[str], Mapping[str, NDArray[Any]]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a gallery is to hold.

    Attributes:
        data: a file or folder of rows; their ids are the files' names.
        records: which past predictions; their ids are those of the records, with `#row` behind
            where a record has several rows.
        taken_from: another version, whose gallery is taken over first.
        output: which output is the vector; None = `latent`, or the first of a model that embeds.
        metric: None = that of the gallery that is there, else euclidean.
        fresh: begin anew instead of adding to the gallery that is there.
        person: who does it.
    """

    data: Path | None
    records: search.Query | None
    taken_from: StoredModel | None
    output: str | None
    metric: Literal["euclidean", "cosine"] | None
    fresh: bool
    person: str


def build(
    store: ModelStore, stored: StoredModel, asked: Asked, settings: Settings, progress: Progress
) -> tuple[StoredModel, int]:
    """Store the next version of a model with its gallery, built or added to.

    Returns:
        The new version, and how many vectors were added; ids that are there already are not.

    Raises:
        GalleryError: the gallery is of another graph, dimension or metric, or nothing was added.
        Conflict: the model has no vector.
        InvalidRequest, NotFound, StoreError, Unavailable: see `open_rows` and `revised`.
    """
    base = asked.taken_from or stored
    old = None if asked.fresh and asked.taken_from is None else base.manifest.gallery
    if asked.taken_from is not None and old is None:
        raise NotFound(f"{base.manifest.reference} has no gallery to take over.")
    made = stored.manifest.graphs.get("predict")
    if old is not None and (made is None or old.graph != made.sha256):
        raise GalleryError(
            f"{base.manifest.reference}: its gallery was made by the graph {old.graph[:12]}, but "
            f"{stored.manifest.reference} has {made.sha256[:12] if made else 'another'}: vectors "
            "of two graphs cannot be compared. Build it anew with --data or --records."
        )
    about = _about(stored.manifest, asked, old)
    ids, parts = [], []
    if old is not None:
        vectors, known = searched.read(base)
        ids, parts = list(known), [np.asarray(vectors)]
    held = len(ids)
    for batch, fresh in _computed(stored, asked, about, set(ids), settings, progress):
        ids += batch
        parts.append(fresh)
    if len(ids) == held and asked.taken_from is None:
        raise GalleryError(
            f"{stored.manifest.reference}: nothing was added to its gallery of {held} vectors. "
            "Name rows or records that are not in it."
        )
    vectors = np.concatenate(parts)
    about = about.model_copy(
        update={"count": len(ids), "index": INDEX_ROLE if len(ids) > EXACT else None}
    )
    said = {"gallery": about.model_dump(mode="json"), "added": len(ids) - held}
    change = Change(settings, "gallery", asked.person, "", said)
    assets = _assets(about, vectors, ids)
    return revised(store, stored, assets, {"gallery": about}, change), len(ids) - held


def _about(manifest: Manifest, asked: Asked, old: Gallery | None) -> Gallery:
    """What the gallery is; `count` is not known yet."""
    default = "latent" if manifest.task != "embed" else manifest.outputs[0].name
    name = asked.output or (old.output if old else default)
    tensor = next((one for one in manifest.outputs if one.name == name), None)
    if tensor is None or tensor.datatype != "FP32" or len(tensor.shape) != 2 or tensor.shape[1] < 1:
        held = [one.name for one in manifest.outputs
                if one.datatype == "FP32" and len(one.shape) == 2]  # fmt: skip
        raise Conflict(
            f"{manifest.reference}: '{name}' is no vector of this model. Say --output "
            f"{' or '.join(held) or 'of another model'}."
        )
    metric = asked.metric or (old.metric if old else "euclidean")
    if old is not None and (old.output, old.metric) != (name, metric):
        raise GalleryError(
            f"{manifest.reference}: its gallery is of output '{old.output}' by {old.metric} "
            f"distance, got '{name}' by {metric}. Begin anew with --fresh."
        )
    return Gallery(
        output=name,
        metric=metric,
        count=1,
        dimension=tensor.shape[1],
        graph=manifest.graphs["predict"].sha256,
        records=asked.records is not None or (old is not None and old.records),
    )


def _computed(
    stored: StoredModel,
    asked: Asked,
    about: Gallery,
    known: set[str],
    settings: Settings,
    progress: Progress,
) -> Iterator[tuple[list[str], Vectors]]:
    """Vectors of rows that are not known yet, some at a time."""
    total: int | None = None
    batches: Batches = iter(())
    if asked.data is not None:
        rows = open_rows(asked.data, stored.manifest, settings.max_image_pixels)
        batches, total = rows.batches(), len(rows.ids)
    elif asked.records is not None:
        batches = _recorded(stored.manifest, asked.records, settings)
    session = warm(stored, settings.device, settings.threads)
    done = 0
    for ids, inputs in batches:
        new = [at for at, one in enumerate(ids) if one not in known]
        done += len(ids)
        progress(done, total)
        if new:
            known.update(ids[at] for at in new)
            some = {name: array[new] for name, array in inputs.items()}
            where = f"{stored.manifest.reference}: '{ids[new[0]]}' and after"
            yield [ids[at] for at in new], _vectors(session, some, about, where)


def _vectors(
    session: Session | Translator, inputs: Mapping[str, NDArray[Any]], about: Gallery, where: str
) -> Vectors:
    if session.preparation is not None:
        inputs = session.preparation.admit(inputs)
    return prepared(session.run(inputs)[about.output], about, where)


def _recorded(manifest: Manifest, query: search.Query, settings: Settings) -> Batches:
    """Inputs of past predictions of any version of the model, oldest first; erased ones are not."""
    store = RecordStore(settings.database)
    names = {tensor.name for tensor in manifest.inputs}
    try:
        for record_id in (row["id"] for page in pages(store, query) for row in page):
            body = orjson.loads(store.get(record_id).body)
            if {one["name"] for one in body["inputs"]} != names:
                continue
            if fail_safe_of(body) is not None:  # what it is found by is no model's decision
                continue
            try:
                inputs = {name: decode_array(store.payload(record_id, name)) for name in names}
            except Conflict:  # erased: what is forgotten is not remembered here
                continue
            rows = len(next(iter(inputs.values())))
            ids = [record_id] if rows == 1 else [f"{record_id}#{row}" for row in range(rows)]
            yield ids, inputs
    finally:
        store.close()


def _assets(about: Gallery, vectors: Vectors, ids: list[str]) -> dict[str, tuple[str, bytes]]:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(vectors, "<f4"), allow_pickle=False)
    assets = {
        about.vectors: (VECTORS, file.getvalue()),
        about.ids: (IDS, orjson.dumps(ids)),
    }
    if about.index is not None:
        assets[about.index] = (INDEX, _index(vectors))
    return assets


def _index(vectors: Vectors) -> bytes:
    """The index of a large gallery. Vectors of the cosine have length 1: the order is the same."""
    index = usearch().Index(ndim=vectors.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(vectors)), vectors)
    with tempfile.TemporaryDirectory(prefix="glassline-index-") as scratch:
        path = Path(scratch) / INDEX
        index.save(str(path))
        return path.read_bytes()
