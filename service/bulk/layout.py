"""Which columns of a file hold a model's inputs, and how one row of them is decoded.

What the server's own decoders can read they read here too: pictures and lines of a table go
through `service.protocol.bare`, so that a row means the same as in a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch
from service.manifest import Manifest
from service.protocol import bare
from service.protocol.datatypes import DTYPES
from service.protocol.signature import Slot, shown, signature_of

#: Column with the bytes of a PNG or JPEG file, and column with the name of one.
PICTURE, PATH = "image", "path"
#: Column that our reader of tables makes: one line of text/csv, its header before it.
LINE = "line"
#: Columns that are ours in every block of rows, however the inputs are laid out.
ROW, ID, PROBLEM = "row", "id", "problem"
_LISTED = 8
#: What a column holds, as far as it matters here.
Held = Literal["bytes", "text", "values"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the inputs of a row stand.

    `pictures` decode the column PICTURE, `line` the column LINE, `tensors` take a column for
    each input, `features` one for each feature of the only input. `header` says of `line`
    whether names stand before the numbers.
    """

    kind: Literal["pictures", "line", "tensors", "features"]
    columns: tuple[str, ...]
    header: bool = True


def layout_of(manifest: Manifest, held: Mapping[str, Held], where: str) -> Layout:
    """The layout of a file with these columns.

    Args:
        manifest: of the model that is asked.
        held: column -> what it holds.
        where: the file, for the message.

    Raises:
        TensorMismatch: they do not hold the model's inputs.
    """
    inputs = manifest.inputs
    if manifest.images is not None and len(inputs) == 1:
        for column in (PICTURE, manifest.images.input, PATH):
            if held.get(column) == ("text" if column == PATH else "bytes"):
                return Layout("pictures", (column,))
    if all(tensor.name in held for tensor in inputs):
        return Layout("tensors", tuple(tensor.name for tensor in inputs))
    features = _features(manifest)
    if features and all(name in held for name in features):
        return Layout("features", features)
    raise TensorMismatch(
        f"{where}: got columns {_listed(list(held))}, wanted {_wanted(manifest)}. "
        "A column 'id' may stand beside them."
    )


def _features(manifest: Manifest) -> tuple[str, ...]:
    """Names of the columns, where all that has to be sent is a table of numbers."""
    tensor = manifest.inputs[0]
    numeric = DTYPES[tensor.datatype].kind in "iuf"
    if manifest.alone and len(tensor.shape) == 2 and numeric:
        return tensor.features or ()
    return ()


def _wanted(manifest: Manifest) -> str:
    """The columns that would do, in words."""
    lists = " and ".join(
        f"'{tensor.name}' ({tensor.datatype} of shape "
        f"({', '.join('any' if extent < 0 else str(extent) for extent in tensor.shape[1:])}))"
        for tensor in manifest.inputs
    )
    ways = [lists]
    if features := _features(manifest):
        ways.append(f"each of {_listed(features)}")
    if manifest.images is not None and len(manifest.inputs) == 1:
        ways.append(f"'{PICTURE}' (bytes of PNG or JPEG files) or '{PATH}' (their names)")
    return ", or ".join(ways)


class RowDecoder:
    """Decodes rows into a model's inputs.

    Args:
        manifest: of the model.
        layout: of the file.
        max_pixels: largest picture, width x height.
    """

    def __init__(self, manifest: Manifest, layout: Layout, max_pixels: int) -> None:
        self._manifest = manifest
        self._layout = layout
        self._max_pixels = max_pixels
        self._slots = signature_of(manifest).inputs

    def inputs(self, row: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """The inputs of one row by name, a batch of one.

        Args:
            row: its columns as Python values, as pyarrow gives them.

        Raises:
            InvalidRequest: they do not fit the manifest; `PROBLEM` says why there are none.
        """
        if row.get(PROBLEM):
            raise TensorMismatch(row[PROBLEM])
        kind, columns = self._layout.kind, self._layout.columns
        if kind == "tensors":
            return {name: _tensor(slot, row[name]) for name, slot in self._slots.items()}
        if kind == "features":
            (slot,) = self._slots.values()
            if missing := [name for name in columns if row[name] is None]:
                slot.refuse(f"has nothing in column {_listed(missing)}", "a number")
            return {slot.name: _tensor(slot, [row[name] for name in columns])}
        value = row[columns[0]]
        if value is None:
            raise TensorMismatch(f"column '{columns[0]}': got nothing, wanted {_NOTHING[kind]}.")
        if kind == "line":
            media_type = f"text/csv; header={'present' if self._layout.header else 'absent'}"
            return self._bare(value.encode(), media_type)
        return self._bare(value, "image/png")

    def _bare(self, body: bytes, media_type: str) -> dict[str, NDArray[Any]]:
        return bare.decode(body, media_type, self._manifest, 1, self._max_pixels).inputs


_NOTHING = {"line": "a line of numbers", "pictures": "the bytes of a PNG or JPEG file"}


def _tensor(slot: Slot, value: Any) -> NDArray[Any]:
    """One row of an input, (1, ...), from nested lists, a flat list or a single value.

    Raises:
        TensorMismatch: its shape, kind or values do not fit.
    """
    if value is None:
        slot.refuse("has nothing in this row", f"{slot.datatype} values")
    try:
        found = np.array(value, dtype=object if slot.datatype == "BYTES" else None)
    except ValueError:
        slot.refuse("has lists that are ragged", "lists of one length at each level")
    found = found.reshape(_shape(slot, found.shape))
    return _texts(slot, found) if slot.datatype == "BYTES" else _numbers(slot, found)


def _shape(slot: Slot, got: tuple[int, ...]) -> tuple[int, ...]:
    """The whole shape of a row: as it is nested, or a flat list's as the manifest says."""
    wanted = slot.shape[1:]
    if len(got) != len(wanted) and len(got) <= 1:
        size, known = math.prod(got), math.prod(extent for extent in wanted if extent >= 0)
        free = [extent for extent in wanted if extent < 0]
        if len(free) > 1:
            slot.refuse(f"has a flat list of {size}", "nested lists: it has several free extents")
        if (size % known if free else size != known) or not size:
            slot.refuse(f"has {size} values in this row", f"{known}{' times any' if free else ''}")
        got = tuple(size // known if extent < 0 else extent for extent in wanted)
    return slot.concrete([1, *got], 1)


def _texts(slot: Slot, found: NDArray[Any]) -> NDArray[Any]:
    for index, element in enumerate(found.ravel()):
        if not isinstance(element, str):
            slot.refuse(f"has {shown(element)} at element {index}", "text")
    return found


def _numbers(slot: Slot, found: NDArray[Any]) -> NDArray[Any]:
    kinds = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[slot.dtype.kind]
    if found.dtype.kind not in kinds:
        what = {"f": "numbers", "b": "true or false"}.get(slot.dtype.kind, "whole numbers")
        slot.refuse(f"has {found.dtype} values", f"{what} of {slot.datatype}, none missing")
    if slot.dtype.kind in "iu":
        whole = np.iinfo(slot.dtype)
        if found.min() < whole.min or found.max() > whole.max:
            slot.refuse(
                f"has values from {found.min()} to {found.max()}", f"{whole.min} to {whole.max}"
            )
    with np.errstate(over="ignore"):  # what overflows becomes Infinity and is refused below
        narrow: NDArray[Any] = found.astype(slot.dtype)
    slot.check_values(narrow)
    return np.ascontiguousarray(narrow)


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(shown(name) for name in names[:_LISTED])
    return some if len(names) <= _LISTED else f"{some} and {len(names) - _LISTED} more"
