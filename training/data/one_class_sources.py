"""`--data` of `train autoencoder`: which source it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from training.data import (
    deeppcb_boards,
    good_pictures,
    picture_sources,
    power_demand,
    stream_file,
    streams,
    torchvision_sets,
)
from training.data.one_class import OneClass, of_pictures
from training.options import WrongOption

if TYPE_CHECKING:
    from training.autoencoder_config import Config

BOARDS = "deeppcb:"
#: Pairs of DeepPCB's test part that a release is tested on; `tests/bench/autoencoders.py` takes
#: all of them.
PAIRS = 20
#: Side of a picture where none is asked for.
SIDE = 64


def load(config: Config, console: Console) -> OneClass:
    """Read and split what a configuration names.

    `digits` and torchvision's sets (one class is normal, the others are anomalies),
    `deeppcb:FOLDER` (templates are normal), a folder of pictures (see `good_pictures`),
    `power-demand` (days of one season are normal), or a table whose lines are steps.

    Raises:
        WrongOption, BadNormal, BadPictures, BadSequences, BadFile: see each source.
    """
    data, normal = config.data, config.normal
    if data.startswith(BOARDS):
        _refuse(normal, data, "templates are normal")
        return deeppcb_boards.load(Path(data.removeprefix(BOARDS)), console, PAIRS)
    if data == "digits" or data in torchvision_sets.SETS:
        size = config.size or picture_sources.size_of(data) or SIDE
        media = picture_sources.media_of(data, size, config.color)
        pictures = picture_sources.load(data, media, False, Path(config.downloads), console)
        return of_pictures(pictures, normal or pictures.labels[0])
    if Path(data).is_dir():
        media = picture_sources.media_of(data, config.size or SIDE, config.color)
        return good_pictures.load(Path(data), media, normal, config.skip_broken, console)
    if data == power_demand.NAME:
        days = power_demand.load(normal or power_demand.SEASONS[0])
        return streams.one_class(days, min(config.window, power_demand.HOURS), 1, config.gaps)
    _refuse(normal, data, "a column says what is normal: --label")
    found = stream_file.load(Path(data), config.label, config.sequence, config.time, config.drop)
    return streams.one_class(found, config.window, config.stride, config.gaps)


def _refuse(normal: str, data: str, why: str) -> None:
    if normal:
        raise WrongOption(f"--normal: got {normal!r}, but of '{data}' {why}. Leave it out.")
