"""`--data` of the commands that learn from pictures: which source it names."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from service.manifest import ImageMedia
from training.data import deeppcb, digits, folders, torchvision_sets
from training.data.pictures import Color, Pictures, square
from training.options import WrongOption

#: What stands before a folder of DeepPCB: its six defects, or these and good places.
DEEPPCB = {"deeppcb": False, "deeppcb-good": True}


def color_of(data: str) -> Color:
    """The colour that a source has by itself: of a folder nobody knows, so it is RGB."""
    if data in torchvision_sets.SETS:
        return torchvision_sets.SETS[data][1]
    return "L" if data == "digits" or _board(data) else "RGB"


def size_of(data: str) -> int | None:
    """The side that its pictures have by themselves, in pixels; None = any."""
    if data in torchvision_sets.SETS:
        return torchvision_sets.SETS[data][2]
    return 32 if data == "digits" else None


def load(
    data: str, media: ImageMedia, skip_broken: bool, downloads: Path, console: Console
) -> Pictures:
    """Read and split a data set.

    Args:
        data: digits; a name that torchvision knows; deeppcb:FOLDER or deeppcb-good:FOLDER; or a
            folder with a subfolder for each class.
        media: square; how each picture is decoded.
        skip_broken: see `folders.load`.
        downloads: where torchvision's sets are kept.
        console: for the progress.

    Raises:
        BadPictures, GlasslineError: nothing can be learnt from it; see each source.
        WrongOption: broken pictures are to be skipped where all or nothing counts.
    """
    if skip_broken and (data == "digits" or data in torchvision_sets.SETS or _board(data)):
        raise WrongOption(f"--skip-broken: {data} is read as a whole or not at all. Leave it out.")
    if data == "digits":
        return digits.load(media=media)
    if data in torchvision_sets.SETS:
        return torchvision_sets.load(data, downloads, media, console)
    kind, folder = _board(data) or ("", data)
    if kind:
        return deeppcb.load(Path(folder), media, DEEPPCB[kind], console)
    return folders.load(Path(folder), media, skip_broken, console)


def media_of(data: str, size: int, color: Color | None) -> ImageMedia:
    """How pictures of this source are decoded; `color` None = as they are."""
    return square(size, color or color_of(data))


def _board(data: str) -> tuple[str, str] | None:
    kind, colon, folder = data.partition(":")
    return (kind, folder) if colon and kind in DEEPPCB else None
