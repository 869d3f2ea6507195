"""What a report is made of, before anybody knows whether it becomes a page or paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `quiet` is for what explains, not for what was found."""

    text: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values; `note` says in words what a value means."""

    rows: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class Fact:
    """One of `Facts`; `literal` is for what is compared letter by letter."""

    name: str
    value: str
    note: str = ""
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with a header; a row is as long as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with what stands below it.

    `width` is its share of the page, 0 to 1; `pixelated` keeps small pictures' pixels square;
    `scrolls` keeps one with small letters legible in a narrow window.
    """

    png: bytes
    caption: str
    width: float = 1.0
    pixelated: bool = False
    scrolls: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands as it is: a command, a checkpoint, a model's card."""

    text: str


Block = Text | Facts | Grid | Picture | Literal


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    `verdict` is what was decided, in a few words, and `stance` what people have said of it since.
    `made_at` is when the report was made, and `record_id` what it is about.
    """

    title: str
    verdict: str
    stance: str
    record_id: str
    made_at: str
    sections: Sequence[Section]


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """JSON members by their names, those of inner objects led by the outer's; None left out."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += flat(value, f"{name} ")
        elif isinstance(value, str):
            found.append((name, value))
        elif isinstance(value, (list, tuple)):
            found.append((name, ", ".join(map(_plain, value))))
        elif value is not None:
            found.append((name, _plain(value)))
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
