"""Labelled pictures in memory, split; what every source of them shares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.manifest import ImageMedia
from service.protocol.media import decode_image
from service.settings import Settings
from training.augment import Variation

Color = Literal["L", "RGB"]
#: The split does not follow the training seed: accuracies of several seeds compare.
SPLIT_SEED = 20
#: The service's own limit: a smaller one would resize in two steps and round twice.
MAX_PIXELS: int = Settings.model_fields["max_image_pixels"].default


class BadPictures(GlasslineError):
    """Nothing can be learnt from these pictures, or one of them is broken."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the pictures: images (n, C, H, W) UINT8, 0 to 255; labels (n,) INT64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, rows: NDArray[np.intp]) -> Part:
        """Those that an index picks."""
        return Part(self.images[rows], self.labels[rows])


class Parts(NamedTuple):
    """Three disjoint parts."""

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True, slots=True)
class Pictures:
    """A data set of pictures, in three disjoint parts.

    Attributes:
        name: what people call it.
        sha256: of all that was read.
        licence: under which it is given out; `unknown` for a user's own.
        labels: names of the classes, by index.
        media: how the served model decodes a bare picture, and therefore how training does.
        split: how the parts came about, in words.
        margin: pixels by which training pictures are larger than `media` on each side, which
            leave room to move the picture within.
        variation: that suits these pictures where no other is asked for.
        example: row of the test part that is shown with the model.
        notes: further facts for the manifest.
    """

    name: str
    sha256: str
    licence: str
    labels: tuple[str, ...]
    media: ImageMedia
    parts: Parts
    split: str
    split_seed: int = SPLIT_SEED
    margin: int = 0
    variation: Variation = "affine"
    example: int = 0
    notes: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        return int(self.test.images.shape[1])

    @property
    def train(self) -> Part:
        return self.parts.train

    @property
    def validation(self) -> Part:
        return self.parts.validation

    @property
    def test(self) -> Part:
        return self.parts.test

    def described(self) -> dict[str, JsonValue]:
        """What the manifest says of the data."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "licence": self.licence,
            "split": self.split,
            "split_seed": self.split_seed,
            **{f"{name}_rows": len(part) for name, part in self.parts._asdict().items()},
            **self.notes,
        }


def square(size: int, color: Color) -> ImageMedia:
    """How a picture of any extent becomes (1, C, size, size): both sides are stretched."""
    return ImageMedia(input="image", color=color, width=size, height=size, fit="stretch")


def decoded(body: bytes, media: ImageMedia) -> NDArray[np.uint8]:
    """A posted picture as the service reads it: (1, C, height, width), 0 to 255.

    Raises:
        MalformedBody, TooLarge: as for a caller.
    """
    return decode_image(body, media, MAX_PIXELS)


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of the list that `sha256sum` prints of these files, sorted by name; lower-case hex.

    Args:
        files: name and SHA-256 of each.
    """
    lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def arrays_digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 over the bytes of arrays, row-major, one after the other; lower-case hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def split_by_class(
    labels: NDArray[np.int64], names: Sequence[str], where: str, seed: int = SPLIT_SEED
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """60 % train, 20 % validation, 20 % test, each class in the proportion of the whole.

    Args:
        labels: (n,) indices of `names`.
        names: of the classes.
        where: what a message begins with.
        seed: which row goes where.

    Raises:
        BadPictures: a class has too few pictures to be in all parts.
    """
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < 5:
        least = int(counts.argmin())
        raise BadPictures(
            f"{where}: class '{names[least]}' has {counts[least]} pictures, wanted at least 5, "
            "so that each part has some. Add pictures, or leave the class out."
        )
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)
    train, validation = train_test_split(
        rest, test_size=0.25, stratify=labels[rest], random_state=seed
    )
    return train, validation, test
