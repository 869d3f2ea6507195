"""What a report tells of one label, in the words of its modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image

from service.explain.explanation import LabelExplanation
from service.explain.legend import number

#: How many reasons are told in words.
REASONS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture or a piece of HTML, with what stands below it.

    `pixelated` keeps the pixels of a small picture square.
    """

    caption: str | Markup
    picture: Image.Image | None = None
    html: Markup | None = None
    pixelated: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """The report's own words.

    `noun` is what a weight belongs to, "segment" say, `plural` of it, `input` the plural of
    what was perturbed. `names` stand at the bars, one a weight. `weighs` says what the first
    weight means, `upstream` how `lime` itself gives the same, empty where it has no such
    method. `digests` says what each digest is of.
    """

    noun: str
    plural: str
    input: str
    figures: tuple[Figure, ...]
    names: tuple[str, ...]
    reasons: tuple[str, ...]
    weighs: str
    upstream: Markup
    digests: Mapping[str, str]


def reason(name: str, label: LabelExplanation, weight: float) -> str:
    """One weight in words."""
    return f"{name} {'raises' if weight > 0 else 'lowers'} “{label.name}” by {number(abs(weight))}."


def higher(weight: float) -> str:
    """A weight as a comparison: "0.31 higher"."""
    return f"{number(abs(weight))} {'higher' if weight > 0 else 'lower'}"
