"""Pictures of good parts in a folder, and of bad ones where there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from service.manifest import ImageMedia
from training.data import folders
from training.data.one_class import BadNormal, OneClass
from training.data.pictures import SPLIT_SEED, digest_of
from training.options import WrongOption

#: The subfolder of good parts where none is named.
GOOD = "good"
#: Shares of the good pictures: to learn from, held back, to calibrate on; the rest is tested.
SHARES = (0.55, 0.1, 0.25)
FEWEST = 40


def load(
    root: Path, media: ImageMedia, normal: str, skip_broken: bool, console: Console
) -> OneClass:
    """Read `root/*.png|jpg`, all of them good; or `root/good/` and, as anomalies, what lies beside.

    Copies of a picture count once.

    Args:
        root: the folder.
        media: how each is decoded.
        normal: the subfolder of good parts; "" = `good`, or `root` itself where it has none.
        skip_broken: leave broken pictures out, naming them, instead of refusing.
        console: for the progress, and for what was left out.

    Raises:
        WrongOption: there is no such subfolder.
        BadPictures: a picture is broken, or good and bad at once.
        BadNormal: there are too few good ones.
    """
    inside = sorted(one.name for one in root.iterdir() if one.is_dir() and one.name[0] != ".")
    if normal and normal not in inside:
        raise WrongOption(
            f"--normal: got {normal!r}, wanted a subfolder of {root}: {', '.join(inside) or 'none'}"
        )
    if inside and not normal and GOOD not in inside:
        raise WrongOption(
            f"--normal: which subfolder of {root} has the good parts? {', '.join(inside)}"
        )
    good = root / (normal or GOOD) if inside else root
    labelled = [(path, 0) for path in folders.pictures_in(good)]
    for name in inside:
        if root / name != good:
            labelled += [(path, 1) for path in folders.pictures_in(root / name)]
    files, images = folders.read(root, labelled, media, skip_broken, console)
    return _split(root, media, files, images)


def _split(
    root: Path, media: ImageMedia, files: list[folders.File], images: NDArray[np.uint8]
) -> OneClass:
    wrong = np.array([file.label == 1 for file in files])
    good = np.random.default_rng(SPLIT_SEED).permutation(np.flatnonzero(~wrong))
    if len(good) < FEWEST:
        raise BadNormal(
            f"{root}: got {len(good)} good pictures, wanted at least {FEWEST}: they are learnt "
            "from, calibrate and are tested on, none of them twice. Take more."
        )
    bounds = np.round(np.cumsum(SHARES) * len(good)).astype(int)
    train, held, calibration, rest = (np.sort(some) for some in np.split(good, bounds))
    tested = np.concatenate([rest, np.flatnonzero(wrong)])
    return OneClass(
        name=root.resolve().name,
        sha256=digest_of((file.name, file.sha256) for file in files),
        licence="unknown: the user's own",
        train=images[train],
        held=images[held],
        calibration=images[calibration],
        test=images[tested],
        anomalous=wrong[tested],
        split="good pictures: 55 % train, 10 % held, 25 % calibration, the rest tested with all "
        "bad ones",
        media=media,
        shown=[files[at].name for at in tested],
    )
