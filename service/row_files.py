"""Rows for a model from files: a folder of pictures, a table or windows as .csv, an array as .npy.

Decoded and checked as a request's would be, so that they are scored as they would be served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import GlasslineError, MalformedBody, NotFound, UnsupportedMediaType
from service.manifest import Manifest
from service.protocol.media import decode_image
from service.protocol.signature import signature_of
from service.protocol.tables import decode_csv, takes_table

Arrays = dict[str, NDArray[Any]]
_PICTURES = frozenset({".png", ".jpg", ".jpeg"})
#: Rows that are decoded and run together.
BATCH = 32
#: Of one file; what is larger comes in several.
_MOST_ROWS = 10_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file or folder; `ids` names each, in order."""

    ids: Sequence[str]
    _files: tuple[Path, ...]
    _arrays: Mapping[str, NDArray[Any]]
    _manifest: Manifest
    _max_pixels: int

    def batches(self) -> Iterator[tuple[Sequence[str], Arrays]]:
        """Ids and inputs by name, some rows at a time.

        Raises:
            InvalidRequest: a picture cannot be decoded; the message names the file.
        """
        for start in range(0, len(self.ids), BATCH):
            some = slice(start, start + BATCH)
            if self._files:
                yield self.ids[some], self._pictures(self._files[some])
            else:
                yield self.ids[some], {name: array[some] for name, array in self._arrays.items()}

    def _pictures(self, files: Sequence[Path]) -> Arrays:
        media = self._manifest.images
        assert media is not None
        decoded = []
        for file in files:
            try:
                decoded.append(decode_image(file.read_bytes(), media, self._max_pixels))
            except GlasslineError as error:
                raise type(error)(f"{file}: {error}") from None
        return {media.input: np.concatenate(decoded)}


def open_rows(path: Path, manifest: Manifest, max_pixels: int) -> Rows:
    """The rows of a file or folder.

    Args:
        path: a folder with .png and .jpg files in it, at any depth; a .csv as a request's; a .npy
            with the first input, (n, ...).
        manifest: of the model that is to take them.
        max_pixels: largest picture.

    Raises:
        NotFound: there is no such file.
        UnsupportedMediaType: a file of another kind, or one that the model does not take.
        InvalidRequest: its content does not fit the manifest, or there are no rows.
    """
    if path.is_dir():
        return _folder(path, manifest, max_pixels)
    if not path.exists():
        raise NotFound(f"{path}: no such file or folder.")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        arrays = _npy(path, manifest)
    elif suffix == ".csv" and takes_table(manifest):
        try:
            arrays = decode_csv(path.read_text(encoding="utf-8-sig"), manifest, _MOST_ROWS)
        except UnicodeDecodeError:
            raise MalformedBody(f"{path}: is no UTF-8. Save it as UTF-8.") from None
        except GlasslineError as error:
            raise type(error)(f"{path}: {error}") from None
    else:
        kinds = "a folder of .png and .jpg files" if manifest.images is not None else "a .csv"
        raise UnsupportedMediaType(f"{path}: wanted {kinds}, or a .npy, for {manifest.reference}.")
    rows = len(next(iter(arrays.values())))
    ids = [f"{path.stem}:{row}" for row in range(rows)]
    return Rows(ids, (), arrays, manifest, max_pixels)


def _folder(path: Path, manifest: Manifest, max_pixels: int) -> Rows:
    if manifest.images is None:
        raise UnsupportedMediaType(f"{path}: a folder, but {manifest.reference} takes no pictures.")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PICTURES)
    if not files:
        raise NotFound(f"{path}: no .png or .jpg file in it.")
    ids = [file.relative_to(path).as_posix() for file in files]
    return Rows(ids, tuple(files), {}, manifest, max_pixels)


def _npy(path: Path, manifest: Manifest) -> Arrays:
    """The first input; windows of any length are all as long as the array says."""
    try:
        with path.open("rb") as content:
            array = np.lib.format.read_array(content, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise MalformedBody(f"{path}: no .npy file ({error}).") from None
    slot = signature_of(manifest).inputs[manifest.inputs[0].name]
    if array.dtype.kind not in "iuf" or (slot.dtype.kind != "f" and array.dtype != slot.dtype):
        slot.refuse(f"got {array.dtype} in {path}", f"values of {slot.datatype}")
    array = array.astype(slot.dtype, copy=False)
    slot.concrete(list(array.shape), _MOST_ROWS)
    slot.check_values(array)
    return {slot.name: array}
