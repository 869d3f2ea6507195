"""Pictures in a folder: a subfolder for each class, PNG and JPEG files in it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from service.errors import GlasslineError, InvalidRequest
from service.manifest import ImageMedia
from training.data.pictures import (
    BadPictures,
    Part,
    Parts,
    Pictures,
    decoded,
    digest_of,
    split_by_class,
)

SUFFIXES = (".png", ".jpg", ".jpeg")
#: Files that a message names; their number is said in any case.
NAMED = 10
#: Bytes of decoded pictures that are held in memory.
MOST = 8 << 30


class File(NamedTuple):
    """A picture: where it lies, below the root with slashes; its class; its digest."""

    name: str
    label: int
    sha256: str


class _Read(NamedTuple):
    """Files by digest, their pictures in the same order; what is broken; what is there twice."""

    files: dict[str, File]
    images: list[NDArray[np.uint8]]
    broken: list[str]
    copies: list[str]


def load(root: Path, media: ImageMedia, skip_broken: bool, console: Console) -> Pictures:
    """Read `root/CLASS/*.png|jpg`, subfolders of a class included; split by class.

    Copies of a picture within a class count once, so that none is learnt from and tested on.

    Args:
        root: the folder.
        media: how each is decoded.
        skip_broken: leave broken pictures out, naming them, instead of refusing.
        console: for the progress, and for what was left out.

    Raises:
        BadPictures: no folder, fewer than two classes, a broken picture, the same picture in two
            classes, a class with fewer than 5 pictures, or more than fits in memory.
    """
    labels, paths, others = _found(root)
    read = _whole(root, paths, media, skip_broken, console)
    named = [path.relative_to(root).as_posix() for path in others]
    _tell(console, root, "neither PNG nor JPEG, left out", named)
    truth = np.array([file.label for file in read.files.values()], np.int64)
    parts = split_by_class(truth, labels, str(root))
    whole = np.concatenate(read.images)
    return Pictures(
        root.resolve().name,
        digest_of((file.name, file.sha256) for file in read.files.values()),
        "unknown: the user's own",
        labels,
        media,
        Parts(*(Part(whole[rows], truth[rows]) for rows in parts)),
        split="60 % train, 20 % validation, 20 % test, by class",
        variation="crop-flip",
        notes={"broken_left_out": len(read.broken), "copies_left_out": len(read.copies)},
    )


def read(
    root: Path,
    paths: list[tuple[Path, int]],
    media: ImageMedia,
    skip_broken: bool,
    console: Console,
) -> tuple[list[File], NDArray[np.uint8]]:
    """Pictures, each with its label: what they are, and (n, C, H, W) in the same order.

    Copies of a picture within a label count once.

    Args:
        root: what names are relative to.
        paths: each with its label.
        media, skip_broken, console: as of `load`.

    Raises:
        BadPictures: there are none, one is broken, one has two labels, or they do not fit in
            memory.
    """
    if not paths:
        raise BadPictures(f"{root}: got no PNG or JPEG files, wanted some. Mend the folder.")
    found = _whole(root, paths, media, skip_broken, console)
    return list(found.files.values()), np.concatenate(found.images)


def pictures_in(folder: Path) -> list[Path]:
    """PNG and JPEG files of a folder, subfolders included, by name."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_picture(path)]


def _whole(
    root: Path,
    paths: list[tuple[Path, int]],
    media: ImageMedia,
    skip_broken: bool,
    console: Console,
) -> _Read:
    """What was read; it is said what was left out."""
    _room(len(paths), media, root)
    read = _read(root, paths, media, console)
    if read.broken and not skip_broken:
        raise BadPictures(
            f"{root}: {_listed(read.broken)} broken: {'; '.join(read.broken[:NAMED])}. "
            "Mend or remove them, or leave them out with --skip-broken."
        )
    _tell(console, root, "broken, left out", read.broken)
    _tell(console, root, "copies of others, left out", read.copies)
    return read


def _read(root: Path, paths: list[tuple[Path, int]], media: ImageMedia, console: Console) -> _Read:
    read = _Read({}, [], [], [])
    title = f"decoding {root.name}"
    for path, label in track(paths, title, console=console, disable=not console.is_terminal):
        name = path.relative_to(root).as_posix()
        try:
            body = path.read_bytes()
            image = decoded(body, media)
        except (InvalidRequest, OSError) as error:
            read.broken.append(f"{name} ({_said(error)})")
            continue
        file = File(name, label, hashlib.sha256(body).hexdigest())
        twin = read.files.setdefault(file.sha256, file)
        if twin is file:
            read.images.append(image)
        elif twin.label == label:
            read.copies.append(f"{name} (of {twin.name})")
        else:
            raise BadPictures(
                f"{root}: {name} is the same picture as {twin.name}, of another class. "
                "Keep it in one of them."
            )
    return read


def _found(root: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]], list[Path]]:
    """Names of the classes; pictures with their class; other files."""
    if not root.is_dir():
        raise BadPictures(
            f"--data: {root} is no folder. Name one with a subfolder of PNG or JPEG files for "
            "each class, or a source that --help lists."
        )
    folders = [one for one in sorted(root.iterdir()) if one.is_dir() and _shown(one, root)]
    inside = {one: [path for path in sorted(one.rglob("*")) if path.is_file()] for one in folders}
    pictures = {one: [path for path in inside[one] if _is_picture(path)] for one in folders}
    empty = [one.name for one in folders if not pictures[one]]
    labels = tuple(one.name for one in folders)
    if len(labels) - len(empty) < 2 or empty:
        which = f"; no PNG or JPEG in {', '.join(empty[:NAMED])}" if empty else ""
        classes = ", ".join(labels[:NAMED]) or "no subfolder"
        raise BadPictures(
            f"{root}: got {classes}{which}; wanted two classes or more, a subfolder with PNG or "
            "JPEG files for each. Mend the folder."
        )
    paths = [(path, at) for at, one in enumerate(folders) for path in pictures[one]]
    known = {path for path, _ in paths}
    others = [p for one in folders for p in inside[one] if p not in known and _shown(p, root)]
    others += [one for one in sorted(root.iterdir()) if one.is_file() and _shown(one, root)]
    return labels, paths, others


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _shown(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _room(count: int, media: ImageMedia, root: Path) -> None:
    size = count * media.width * media.height * (3 if media.color == "RGB" else 1)
    if size > MOST:
        raise BadPictures(
            f"{root}: {count} pictures of {media.width} x {media.height} pixels take "
            f"{size / 2**30:.0f} GiB of memory, at most {MOST / 2**30:.0f} are held. "
            "Lower --size, or take fewer pictures."
        )


def _said(error: Exception) -> str:
    if isinstance(error, GlasslineError):
        return str(error).removeprefix("picture: ").split(", beginning with")[0]
    return getattr(error, "strerror", None) or str(error)


def _tell(console: Console, root: Path, what: str, names: list[str]) -> None:
    if names:
        line = f"{root}: {_listed(names)} {what}: {'; '.join(names[:NAMED])}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _listed(names: list[str]) -> str:
    more = f", of which {NAMED} are named here," if len(names) > NAMED else ""
    return f"{len(names)} {'file' if len(names) == 1 else 'files'}{more}"
