"""Generation: what a caller may ask of it, and the noise that it is made from.

Noise is an input of the graph: the same noise gives the same answer, bit for bit. A caller sends
the noise itself, or a seed that the service draws it by; a record keeps the noise that was used.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.errors import InvalidParameter
from service.manifest import Manifest
from service.tasks.parameters import Number, read_own

#: Names of the inputs and of the column that says which seed the noise was drawn by.
NOISE, LABEL, SEED = "noise", "label", "seed"
#: Largest seed, and most answers that are drawn for one request.
LARGEST_SEED, MOST = 2**32 - 1, 256
#: Largest value of noise, in standard deviations: a normal draw never comes near.
FURTHEST = 10.0


class Asked(BaseModel):
    """Parameters of a generation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Number] | None = Field(
        None,
        ge=0,
        le=LARGEST_SEED,
        description="Seed of the noise; the answer says which, where none is given.",
    )
    count: Annotated[int, Number] | None = Field(
        None, ge=1, le=MOST, description="Answers to generate by a seed; one, if not said."
    )
    label: Annotated[int, Number] | str | None = Field(
        None,
        description="What is generated, by name or index; without it the labels in turn. "
        "Of conditional models.",
    )


class Generator:
    """The generation task of one model; its first output holds what it made (n, ...)."""

    __slots__ = ()

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs as they are, and the seed: there is no verdict on what was made."""
        return dict(outputs)


def drawn_noise(seed: int, count: int, width: int) -> NDArray[np.float32]:
    """Noise (count, width) from N(0, 1), FP32, that a seed stands for.

    It is numpy's PCG64, `numpy.random.default_rng(seed).standard_normal((count, width),
    numpy.float32)`: anybody can draw it again, and fewer rows are the first of more.
    """
    return np.random.default_rng(seed).standard_normal((count, width), np.float32)


def makes_pictures(manifest: Manifest) -> bool:
    """Whether the first output is pictures (n, C, H, W), grey or RGB."""
    shape = manifest.outputs[0].shape
    return len(shape) == 4 and shape[1] in (1, 3)


def grey_levels(pictures: NDArray[Any]) -> NDArray[np.uint8]:
    """Pictures as 0 to 255: as they are in UINT8, else [0, 1] rounded."""
    if pictures.dtype == np.uint8:
        return pictures
    levels: NDArray[np.uint8] = np.rint(np.clip(pictures, 0.0, 1.0) * 255).astype(np.uint8)
    return levels


def columns(
    values: Mapping[str, Any],
    inputs: Mapping[str, NDArray[Any]],
    manifest: Manifest,
    max_rows: int,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The inputs of a generation: as they were sent, or drawn.

    Args:
        values: the request's parameters: name -> JSON value or query-string text.
        inputs: tensors that were sent, valid for the manifest: noise, labels, both or none.
        manifest: of the model that is asked.
        max_rows: largest batch.

    Returns:
        `noise` (n, z), `label` (n,) of conditional models, and `seed` (n,) INT64 where the noise
        was drawn; and the parameters that are not a generation's own.

    Raises:
        InvalidParameter: a value is of the wrong type or outside its range, or does not go
            with what was sent.
    """
    asked, rest = read_own(Asked, values, manifest)
    where = f"{manifest.reference}: parameters"
    for name in ("seed", "count"):
        if NOISE in inputs and getattr(asked, name) is not None:
            raise InvalidParameter(
                f"{where}: {name}: got {getattr(asked, name)} beside the noise itself, wanted one "
                "of them. Leave the noise out to have it drawn."
            )
    rows = len(next(iter(inputs.values()))) if inputs else asked.count or 1
    if asked.count not in (None, rows):
        raise InvalidParameter(
            f"{where}: count: got {asked.count} beside {rows} labels, wanted as many. Leave it out."
        )
    if rows > min(MOST, max_rows) and NOISE not in inputs:
        raise InvalidParameter(
            f"{where}: count: got {rows}, wanted 1 to {min(MOST, max_rows)}. Ask again with "
            "another seed for more."
        )
    found: dict[str, NDArray[Any]] = {}
    if NOISE in inputs:
        found[NOISE] = inputs[NOISE]
    else:
        seed = secrets.randbelow(LARGEST_SEED + 1) if asked.seed is None else asked.seed
        found[NOISE] = drawn_noise(seed, rows, manifest.inputs[0].shape[1])
        found[SEED] = np.full(rows, seed, np.int64)
    if manifest.labels:
        found[LABEL] = _labels(asked.label, inputs, rows, manifest)
    elif asked.label is not None:
        raise InvalidParameter(
            f"{where}: label: got {asked.label!r:.80}, but this model is told nothing but its "
            "noise. Leave it out."
        )
    return found, rest


def _labels(
    asked: int | str | None,
    inputs: Mapping[str, NDArray[Any]],
    rows: int,
    manifest: Manifest,
) -> NDArray[np.int64]:
    """What each row is to show."""
    if LABEL in inputs:
        if asked is not None:
            raise InvalidParameter(
                f"{manifest.reference}: parameters: label: got {asked!r:.80} beside the tensor "
                "of labels, wanted one of them. Leave one out."
            )
        return inputs[LABEL]
    if asked is None:
        return np.arange(rows, dtype=np.int64) % len(manifest.labels)
    return np.full(rows, _label(asked, manifest), np.int64)


def _label(asked: int | str, manifest: Manifest) -> int:
    """Index of a label by its name, or by its index; names go first."""
    labels = manifest.labels
    if str(asked) in labels:
        return labels.index(str(asked))
    text = str(asked)
    if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < len(labels):
        return int(text)
    raise InvalidParameter(
        f"{manifest.reference}: parameters: label: got {asked!r:.80}, wanted one of "
        f"{', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}, or an index from 0 to "
        f"{len(labels) - 1}."
    )
