"""Words that all commands on pictures share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from training.command_words import flag, name_from


class Color(StrEnum):
    """What a picture is decoded to."""

    auto = "auto"
    grey = "L"
    rgb = "RGB"


class Augment(StrEnum):
    """How training pictures are varied."""

    auto = "auto"
    none = "none"
    affine = "affine"
    crop_flip = "crop-flip"
    turns = "turns"


def color_flag(panel: str | None = None, grey: str = "") -> Any:
    """`--color`; `grey` are those whose pictures are grey where nothing is said."""
    return flag(f"L: grey. auto: as the data are{grey and f', grey for {grey}'}.", panel)


def skip_broken_flag(panel: str | None = None) -> Any:
    """`--skip-broken`."""
    return flag("Leave broken pictures of a folder out, naming them.", panel, "--skip-broken")


def name_of(network: str, data: str) -> str:
    """The name that such a model has where none is given: lenet-digits, resnet18-parts."""
    kind, colon, _ = data.partition(":")
    word = kind if colon and kind.startswith("deeppcb") else Path(data).resolve().name
    return name_from("lenet" if network == "lenet5" else network, word)
