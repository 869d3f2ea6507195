"""Handwritten digits that ship inside scikit-learn: 1,797 pictures of 8 x 8 pixels.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, doi 10.24432/C50P49 (its test part).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.manifest import ImageMedia
from service.protocol.media import decode_image, encode_png
from service.settings import Settings

NAME = "scikit-learn digits"
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository, doi 10.24432/C50P49)"
LABELS = tuple("0123456789")
#: Of the pixels, 0 to 16 as UINT8, row-major, followed by the labels as UINT8.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
#: How the served model decodes a bare picture, and therefore how training does.
MEDIA = ImageMedia(input="image", color="L", width=32, height=32, fit="stretch")
#: The split does not follow the training seed: accuracies of several seeds compare.
SPLIT_SEED = 20


class DataMismatch(GlasslineError):
    """A data set is not the one that its checksum names."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the pictures: images (n, 1, 32, 32) UINT8, 0 to 255; labels (n,) INT64, 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """The three parts, disjoint, each with every digit in the proportion of the whole."""

    train: Part
    validation: Part
    test: Part


def load(seed: int = SPLIT_SEED) -> Digits:
    """Load and split the digits: 60 % train, 20 % validation, 20 % test.

    Args:
        seed: which pictures go where.

    Raises:
        DataMismatch: the installed scikit-learn carries other digits.
    """
    bunch = load_digits()
    small = bunch.images.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    _check(small, labels)
    images = np.concatenate([decoded(png(picture)) for picture in small])
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)
    train, validation = train_test_split(
        rest, test_size=0.25, stratify=labels[rest], random_state=seed
    )
    return Digits(*(Part(images[r], labels[r]) for r in (train, validation, test)))


def decoded(body: bytes) -> NDArray[np.uint8]:
    """A posted picture as the service reads it: (1, 1, 32, 32), 0 to 255.

    The limit is the service's own: a smaller one resizes in two steps and rounds twice.
    """
    return decode_image(body, MEDIA, Settings.model_fields["max_image_pixels"].default)


def png(picture: NDArray[np.uint8]) -> bytes:
    """One of scikit-learn's pictures, (8, 8), 0 to 16, as the 8 x 8 grey PNG to post."""
    grey = np.round(picture * (255 / 16)).astype(np.uint8)
    return encode_png(grey[np.newaxis])


def _check(small: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    digest = hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != SHA256:
        raise DataMismatch(
            f"{NAME}: got SHA-256 {digest}, wanted {SHA256}. "
            "Install scikit-learn 1.6 or newer from its own wheel."
        )
