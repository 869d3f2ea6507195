"""Data sets that torchvision knows by name, downloaded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.manifest import ImageMedia
from service.protocol.media import encode_png
from training.data.pictures import (
    SPLIT_SEED,
    Color,
    Part,
    Parts,
    Pictures,
    arrays_digest,
    decoded,
)
from training.torchvision_import import torchvision

#: Name here to torchvision's class, colour and side of its pictures.
SETS: dict[str, tuple[str, Color, int]] = {
    "mnist": ("MNIST", "L", 32),
    "fashion-mnist": ("FashionMNIST", "L", 32),
    "kmnist": ("KMNIST", "L", 32),
    "usps": ("USPS", "L", 32),
    "cifar10": ("CIFAR10", "RGB", 32),
    "cifar100": ("CIFAR100", "RGB", 32),
    "svhn": ("SVHN", "RGB", 32),
}
#: Share of the training part that is kept for validation.
VALIDATED = 0.1


def load(name: str, folder: Path, media: ImageMedia, console: Console) -> Pictures:
    """Download where it is not there yet, and split: the set's own test part is the test part.

    Args:
        name: of `SETS`.
        folder: where the files are kept, below it by torchvision's own names.
        media: how each picture is decoded.
        console: for the progress.

    Raises:
        GlasslineError: it cannot be downloaded; the message says where to put the files.
    """
    whole = {part: _download(name, folder, part == "train", console) for part in ("train", "test")}
    decoded_parts = {part: _decoded(rows, media, console) for part, rows in whole.items()}
    known = decoded_parts["train"]
    train, validation = train_test_split(
        np.arange(len(known)),
        test_size=VALIDATED,
        stratify=known.labels,
        random_state=SPLIT_SEED,
    )
    test = decoded_parts["test"]
    return Pictures(
        f"{SETS[name][0]} (torchvision)",
        arrays_digest(known.images, known.labels, test.images, test.labels),
        "see its authors",
        _labels(whole["test"], known),
        media,
        Parts(known.some(train), known.some(validation), test),
        split=f"the set's own test part; {VALIDATED:.0%} of the rest validation, by class",
        variation="crop-flip" if name.startswith("cifar") else "affine",
    )


def _download(name: str, folder: Path, train: bool, console: Console) -> Any:
    maker = getattr(torchvision.datasets, SETS[name][0])
    which: dict[str, Any] = (
        {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    )
    try:
        return maker(folder, download=False, **which)
    except (RuntimeError, OSError):
        pass  # not there yet, or not whole
    try:
        with console.status(f"downloading {SETS[name][0]} into {folder} ..."):
            folder.mkdir(parents=True, exist_ok=True)
            return maker(folder, download=True, **which)
    except Exception as error:  # whatever the network, an archive or the disk leads it to
        raise GlasslineError(
            f"--data {name}: {SETS[name][0]} is not in {folder} and cannot be downloaded "
            f"({str(error).splitlines()[0]:.200}). Put torchvision's files there, or train on a "
            "folder of pictures: --data FOLDER."
        ) from None


def _decoded(rows: Any, media: ImageMedia, console: Console) -> Part:
    """Every picture as the service would read it."""
    images, labels = [], []
    for picture, label in track(rows, "decoding", console=console, disable=not console.is_terminal):
        assert isinstance(picture, Image.Image)
        pixels = np.asarray(picture.convert("RGB" if picture.mode != "L" else "L"))
        planes = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        images.append(decoded(encode_png(planes), media))
        labels.append(int(label))
    return Part(np.concatenate(images), np.array(labels, np.int64))


def _labels(rows: Any, part: Part) -> tuple[str, ...]:
    named = getattr(rows, "classes", None)
    return tuple(named) if named else tuple(str(at) for at in range(int(part.labels.max()) + 1))
