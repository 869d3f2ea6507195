"""Handwritten digits that ship inside scikit-learn: 1,797 pictures of 8 x 8 pixels.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, doi 10.24432/C50P49 (its test part).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from service.errors import GlasslineError
from service.manifest import ImageMedia
from service.protocol.media import encode_png
from training.data import pictures
from training.data.pictures import SPLIT_SEED, Part, Parts, Pictures, split_by_class, square

NAME = "scikit-learn digits"
LICENCE = "CC BY 4.0 (UCI Machine Learning Repository, doi 10.24432/C50P49)"
LABELS = tuple("0123456789")
#: Of the pixels, 0 to 16 as UINT8, row-major, followed by the labels as UINT8.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
#: How the served model decodes a bare picture where nothing else is asked for.
MEDIA = square(32, "L")


class DataMismatch(GlasslineError):
    """A data set is not the one that its checksum names."""


def load(seed: int = SPLIT_SEED, media: ImageMedia = MEDIA) -> Pictures:
    """Load and split the digits: 60 % train, 20 % validation, 20 % test.

    Args:
        seed: which pictures go where.
        media: how each is decoded.

    Raises:
        DataMismatch: the installed scikit-learn carries other digits.
    """
    bunch = load_digits()
    small = bunch.images.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    _check(small, labels)
    images = np.concatenate([decoded(png(picture), media) for picture in small])
    rows = split_by_class(labels, LABELS, NAME, seed)
    parts = Parts(*(Part(images[some], labels[some]) for some in rows))
    return Pictures(
        NAME, SHA256, LICENCE, LABELS, media, parts,
        split="60 % train, 20 % validation, 20 % test, by class", split_seed=seed,
        variation="affine",
    )  # fmt: skip


def decoded(body: bytes, media: ImageMedia = MEDIA) -> NDArray[np.uint8]:
    """A posted picture as the service reads it: (1, 1, 32, 32), 0 to 255."""
    return pictures.decoded(body, media)


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
