"""DeepPCB: defects of printed circuit boards, cut out around the boxes that name them.

Source: Tang et al. 2019, "Online PCB defect detector on a new PCB defect dataset",
arXiv:1902.06197; https://github.com/tangsanli5201/DeepPCB. The user brings the folder: its README
limits the pictures to research.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from service.errors import InvalidRequest
from service.manifest import ImageMedia
from service.protocol.media import encode_png
from training.data.pictures import (
    SPLIT_SEED,
    BadPictures,
    Part,
    Parts,
    Pictures,
    decoded,
    digest_of,
    square,
)

NAME = "DeepPCB"
LICENCE = "MIT; its README limits the pictures to research"
#: Types 1 to 6 of the boxes.
DEFECTS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
GOOD = "good"
#: Side of a crop on the board, in pixels; about 1.3 mm.
SIDE = 64
#: Pixels more on each side of a training crop: its centre may be moved by as much. With 8 LeNet-5
#: was a point worse.
MARGIN = 4
#: Boards of `trainval.txt` that are kept for validation.
VALIDATED = 0.1
BOARD = ImageMedia(input="image", color="L", width=640, height=640, fit="exact")


class Box(NamedTuple):
    """Where a defect is on its board, in pixels, the ends left out; `defect` from 0."""

    left: int
    top: int
    right: int
    bottom: int
    defect: int


class Crop(NamedTuple):
    """A crop and its index in the labels."""

    picture: NDArray[np.uint8]
    label: int


def load(root: Path, media: ImageMedia, good: bool, console: Console) -> Pictures:
    """Crops around the boxes: train and validation from `trainval.txt`, test from `test.txt`.

    No board is in two parts. Test crops are centred on their box; those of the training part
    have a margin besides, in which augmentation may move them. Beyond the board's edge its last
    pixels go on.

    Args:
        root: the folder with the two lists.
        media: square; another size than 64 is the 64 x 64 crop, stretched.
        good: a seventh class: the same places of the defect-free templates, one for every six
            boxes of a board, so that it is about as frequent as a defect.
        console: for the progress.

    Raises:
        BadPictures: the folder is not such a data set, or a file in it is broken.
    """
    lists = {name: listed(root, name) for name in ("trainval.txt", "test.txt")}
    held = set(_validated(lists["trainval.txt"]))
    digests: list[tuple[str, str]] = []
    crops: dict[str, list[Crop]] = {"train": [], "validation": [], "test": []}
    boards = [(name, one) for name, names in lists.items() for one in names]
    shown = track(boards, f"cutting {NAME}", console=console, disable=not console.is_terminal)
    for name, one in shown:
        part = "test" if name == "test.txt" else "validation" if one in held else "train"
        margin = MARGIN if part == "train" else 0
        crops[part] += _crops(root, one, SIDE + 2 * margin, good, digests)
    labels = (*DEFECTS, GOOD) if good else DEFECTS
    return Pictures(
        f"{NAME}, crops of {SIDE} x {SIDE} pixels",
        digest_of(digests),
        LICENCE,
        labels,
        media,
        Parts(*(_part(crops[part], part, labels, media, root) for part in crops)),
        split=f"by board: trainval.txt ({VALIDATED:.0%} of its boards validation), test.txt test",
        margin=margin_of(media),
        variation="turns",
        notes={"boards": len(boards), "validation_boards": len(held)},
    )


def margin_of(media: ImageMedia) -> int:
    """Pixels by which a training crop is larger than `media` on each side."""
    return MARGIN * media.width // SIDE


def crop(board: NDArray[np.uint8], centre: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """A square of the board around (x, y); (side, side). Beyond the edge its pixels go on.

    Args:
        board: (H, W).
        centre: column and row, inside the board; those before it are side / 2.
        side: even.
    """
    x, y = (at - side // 2 + np.arange(side) for at in centre)
    across, down = np.clip(x, 0, board.shape[1] - 1), np.clip(y, 0, board.shape[0] - 1)
    found: NDArray[np.uint8] = board[np.ix_(down, across)]
    return found


def _crops(
    root: Path, name: str, side: int, good: bool, digests: list[tuple[str, str]]
) -> Iterator[Crop]:
    """Crops of a board; what was read is added to `digests`."""
    tested = board(root, f"{name}_test.png", digests)
    template = board(root, f"{name}_temp.png", digests) if good else None
    for at, box in enumerate(boxes(root, f"{name}.txt", digests)):
        centre = (box.left + box.right) // 2, (box.top + box.bottom) // 2
        yield Crop(crop(tested, centre, side), box.defect)
        if template is not None and at % len(DEFECTS) == 0:
            yield Crop(crop(template, centre, side), len(DEFECTS))


def _part(
    crops: list[Crop], part: str, labels: tuple[str, ...], media: ImageMedia, root: Path
) -> Part:
    found = {crop.label for crop in crops}
    missing = [label for at, label in enumerate(labels) if at not in found]
    if missing:
        raise BadPictures(
            f"{root}: the {part} part has no {', '.join(missing)}. Use the whole data set."
        )
    margin = margin_of(media) if part == "train" else 0
    fitted = square(media.width + 2 * margin, media.color)
    if (media.width, media.color) == (SIDE, "L"):  # decoding changes nothing
        images = [one.picture[np.newaxis, np.newaxis] for one in crops]
    else:
        images = [decoded(encode_png(one.picture[np.newaxis]), fitted) for one in crops]
    return Part(np.concatenate(images), np.array([one.label for one in crops], np.int64))


def listed(root: Path, name: str) -> list[str]:
    """The boards of a list.

    Raises:
        BadPictures: there is no such list, or nothing in it.
    """
    if not (root / name).is_file():
        raise BadPictures(
            f"--data: {root} has no {name}, wanted the folder of DeepPCB with trainval.txt, "
            "test.txt and the boards that they list."
        )
    names = (root / name).read_text().split()
    if not names:
        raise BadPictures(f"{root / name}: lists no board. Use the whole data set.")
    return names


def _validated(boards: list[str]) -> list[str]:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(boards))
    return [boards[at] for at in order[: max(1, round(VALIDATED * len(boards)))]]


def board(root: Path, name: str, digests: list[tuple[str, str]]) -> NDArray[np.uint8]:
    """A picture, (640, 640), 0 or 255; its file is added to `digests`.

    Raises:
        BadPictures: it cannot be read.
    """
    try:
        body = (root / name).read_bytes()
        picture: NDArray[np.uint8] = decoded(body, BOARD)[0, 0]
    except (InvalidRequest, OSError) as error:
        raise BadPictures(f"{root / name}: {error} Use the whole data set.") from None
    digests.append((name, hashlib.sha256(body).hexdigest()))
    return picture


def boxes(root: Path, name: str, digests: list[tuple[str, str]]) -> list[Box]:
    """The boxes of a board, whose file is added to `digests`.

    Raises:
        BadPictures: a row is not x1, y1, x2, y2, type.
    """
    try:
        body = (root / name).read_bytes()
    except OSError as error:
        raise BadPictures(f"{root / name}: {error.strerror}. Use the whole data set.") from None
    digests.append((name, hashlib.sha256(body).hexdigest()))
    found = []
    for number, line in enumerate(body.decode("ascii", "replace").splitlines(), 1):
        if not line.strip():
            continue
        cells = line.replace(",", " ").split()
        whole = [int(cell) for cell in cells if cell.isdecimal()]
        if len(cells) != 5 or len(whole) != 5 or not 1 <= whole[4] <= len(DEFECTS):
            raise BadPictures(
                f"{root / name}: line {number}: got {line!r:.60}, wanted x1,y1,x2,y2,type with "
                f"type 1 to {len(DEFECTS)}."
            )
        left, top, right, bottom, defect = whole
        found.append(Box(left, top, right, bottom, defect - 1))
    return found
