"""Words that all commands on pictures share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any


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


def word_of(choice: StrEnum) -> Any:
    """The word that was chosen; None for what suits."""
    return None if choice.value == "auto" else choice.value


def name_of(network: str, data: str) -> str:
    """The name that such a model has where none is given: lenet-digits, resnet18-parts."""
    kind, colon, _ = data.partition(":")
    word = kind if colon and kind.startswith("deeppcb") else Path(data).resolve().name
    slugs = [re.sub(r"[^a-z0-9]+", "-", one.lower()).strip("-") for one in (network, word)]
    return f"{slugs[0].replace('lenet5', 'lenet')}-{slugs[1]}"[:63].strip("-")
