"""A sheet of pictures, what an autoencoder made of them, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.anomaly import Detector
from service.explain.render import png
from training.data.one_class import OneClass

#: Pictures of each sort on a sheet, the least side of one and its largest, in pixels.
SHOWN, LEAST, MOST = 5, 96, 320
#: From no error to the largest: black, red, yellow, white.
_HEAT = np.array([[0, 0, 0], [200, 30, 20], [255, 200, 0], [255, 255, 255]], np.float64)


def sheet(detector: Detector, data: OneClass) -> bytes:
    """A PNG of normal test pictures and anomalies, one a row: picture, reconstruction, error."""
    rows = np.concatenate([
        _spread(np.flatnonzero(~data.anomalous)), _spread(np.flatnonzero(data.anomalous))
    ])  # fmt: skip
    with torch.inference_mode():
        _, error, reconstruction, *_ = detector(torch.from_numpy(data.test[rows]))
    regions = None if data.regions is None else data.regions[rows]
    return drawn(data.test[rows], reconstruction.numpy(), error.numpy(), regions)


def drawn(
    pictures: NDArray[np.uint8],
    reconstructions: NDArray[np.float32],
    errors: NDArray[np.float32],
    regions: NDArray[np.bool_] | None = None,
    largest: float | None = None,
) -> bytes:
    """Rows of picture, reconstruction and error as a PNG, in two columns of them.

    Args:
        pictures, reconstructions: (n, C, H, W), 0 to 255.
        errors: (n, H, W).
        regions: (n, H, W), outlined in the picture; None = nothing is.
        largest: error that is white; None = the largest there is.
    """
    side = max(pictures.shape[-2:])
    zoom = max(1, LEAST // side)
    shrink = max(1, -(-side // MOST))
    top = largest or float(errors.max()) or 1.0
    strips = []
    for at, picture in enumerate(pictures):
        parts = [_rgb(picture), _rgb(reconstructions[at]), _heat(errors[at] / top)]
        if regions is not None:
            parts = [_outlined(part, regions[at]) for part in parts]
        shown = [_fitted(part, zoom, shrink) for part in parts]
        strips.append(np.concatenate(_spaced(shown, 1), axis=1))
    half = -(-len(strips) // 2)
    columns = [_spaced(strips[:half], 0), _spaced(strips[half:], 0)]
    stacked = [np.concatenate(column, axis=0) for column in columns if column]
    tallest = max(len(one) for one in stacked)
    level = [np.pad(one, ((0, tallest - len(one)), (0, 12), (0, 0)), constant_values=255)
             for one in stacked]  # fmt: skip
    return png(Image.fromarray(np.concatenate(level, axis=1)))


def _spread(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Some of the rows, evenly spread."""
    some: NDArray[np.intp] = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    return some


def _rgb(picture: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    tones = np.clip(np.round(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(tones, 3, axis=2) if tones.shape[2] == 1 else tones


def _heat(error: NDArray[np.float32]) -> NDArray[np.uint8]:
    at = np.clip(error, 0, 1)
    knots = np.linspace(0, 1, len(_HEAT))
    colours = [np.interp(at, knots, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(colours, axis=2).astype(np.uint8)


def _outlined(picture: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """With a line around what is known to be wrong."""
    wide = np.pad(region, 2)
    grown = np.zeros_like(region)
    for down in range(5):
        for across in range(5):
            grown |= wide[down : down + region.shape[0], across : across + region.shape[1]]
    outlined = picture.copy()
    outlined[grown & ~region] = (0, 130, 255)
    return outlined


def _fitted(picture: NDArray[np.uint8], zoom: int, shrink: int) -> NDArray[np.uint8]:
    if zoom > 1:
        return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    small = Image.fromarray(picture).reduce(shrink) if shrink > 1 else Image.fromarray(picture)
    return np.asarray(small)


def _spaced(parts: Sequence[NDArray[np.uint8]], axis: int) -> list[NDArray[np.uint8]]:
    """Each with four white pixels behind it."""
    width = [(0, 0), (0, 0), (0, 0)]
    width[axis] = (0, 4)
    return [np.pad(part, width, constant_values=255) for part in parts]
