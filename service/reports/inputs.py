"""The input of a prediction, as a person looks at it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.audit.arrays import decode_array
from service.audit.store import RecordStore
from service.errors import Conflict
from service.explain.legend import number
from service.manifest import Manifest, Tensor
from service.reports.blocks import Block, Fact, Facts, Grid, Literal, Picture, Text
from service.reports.material import Told

#: What is shown of a long input; all of it is in the bundle.
_CHARACTERS, _COLUMNS, _CHANNELS = 4000, 60, 8
#: Smaller pictures keep their pixels square.
_PIXEL_ART = 64


def input_blocks(
    prediction: Told,
    row: int,
    manifest: Manifest | None,
    records: RecordStore,
    erased: str,
) -> list[Block]:
    """Each input of one row, its digest, and what it shows.

    Args:
        prediction: whose inputs.
        row: which row of the batch.
        manifest: of the model, that knows units and names; None where it is gone.
        records: where the inputs are.
        erased: what is known of an erasure.
    """
    blocks: list[Block] = []
    tensors = {tensor.name: tensor for tensor in manifest.inputs} if manifest else {}
    for said in prediction.body["inputs"]:
        name, shape = said["name"], said["shape"]
        rows = f"row {row} of {shape[0]}" if shape and shape[0] != 1 else ""
        kind = f"{said['datatype']} {' x '.join(map(str, shape))}"
        blocks.append(
            Facts([Fact(name, kind, rows), Fact("SHA-256", said["sha256"], literal=True)])
        )
        try:
            values = decode_array(records.payload(prediction.id, name))[row]
        except Conflict as gone:
            blocks.append(Text(erased or str(gone)))
            continue
        media = manifest.images if manifest else None
        if media is not None and media.input == name:
            blocks.append(_picture(values, name))
        else:
            blocks += _values(values, tensors.get(name))
    return blocks


def _picture(values: NDArray[Any], name: str) -> Picture:
    """(C, H, W) uint8 as a PNG."""
    plain = values[0] if values.shape[0] == 1 else np.moveaxis(values, 0, -1)
    image = Image.fromarray(np.ascontiguousarray(plain))
    buffer = io.BytesIO()
    image.save(buffer, "png")
    small = min(image.size) < _PIXEL_ART
    caption = f"{name}, {image.width} x {image.height} pixels, as the model got it"
    return Picture(buffer.getvalue(), caption, 0.3 if small else 0.5, small)


def _values(values: NDArray[Any], tensor: Tensor | None) -> list[Block]:
    if values.dtype.kind in "OUS":
        text = "\n".join(str(one) for one in np.atleast_1d(values).ravel())
        cut = [Text(f"… {len(text) - _CHARACTERS} characters more", quiet=True)]
        return [Literal(text[:_CHARACTERS]), *(cut if len(text) > _CHARACTERS else ())]
    names = list(tensor.features or ()) if tensor else []
    unit = f" {tensor.unit}" if tensor and tensor.unit else ""
    if values.ndim <= 1:
        return _columns(np.atleast_1d(values), names, unit)
    if values.ndim == 2:
        return _window(values, names, unit)
    return [Text(f"An array of {values.ndim} axes; it is in the bundle.", quiet=True)]


def _columns(values: NDArray[Any], names: list[str], unit: str) -> list[Block]:
    named = names if len(names) == len(values) else [str(at) for at in range(len(values))]
    pairs = list(zip(named, values.tolist(), strict=True))
    blocks: list[Block] = [
        Grid(("column", "value"), [(name, f"{value!r}{unit}") for name, value in pairs[:_COLUMNS]])
    ]
    if len(pairs) > _COLUMNS:
        blocks.append(Text(f"… {len(pairs) - _COLUMNS} columns more", quiet=True))
    return blocks


def _window(values: NDArray[Any], names: list[str], unit: str) -> list[Block]:
    """(T, C) as lines over time, and each channel in figures."""
    channels = values.shape[1]
    named = names if len(names) == channels else [f"channel {at}" for at in range(channels)]
    rows = [
        (name, *(f"{number(float(v))}{unit}" for v in (one[0], one.min(), one.mean(), one.max(),
                                                       one[-1])))
        for name, one in zip(named, values.T.astype(np.float64), strict=True)
    ]  # fmt: skip
    return [
        Picture(_drawn(values, named), f"{len(values)} steps, as the model got them", 0.8),
        Grid(("channel", "first", "lowest", "mean", "highest", "last"), rows[:_COLUMNS]),
    ]


def _drawn(values: NDArray[Any], names: list[str]) -> bytes:
    # matplotlib takes half a second and fifty megabytes: only where something is drawn by it.
    from service.explain.figure import INK_CSS, blank, literal, picture
    from service.explain.render import png

    shown = min(values.shape[1], _CHANNELS)
    figure = blank(110 * shown + 60)
    axes = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
    for axis, name, one in zip(axes, names, values.T, strict=False):
        axis.plot(one, color=INK_CSS, linewidth=1.2)
        axis.set_ylabel(literal(name, 16), fontsize=8.5)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlabel("step", fontsize=8.5)
    return png(picture(figure))
