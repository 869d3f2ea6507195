"""Words that several training commands share: how a flag is told, and what its words mean."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import typer


class Gaps(StrEnum):
    """What becomes of values that are not there."""

    refuse = "refuse"
    interpolate = "interpolate"


def flag(help: str, panel: str | None = None, *names: str, **more: Any) -> Any:
    """A flag, told under a heading of its own; `names` where the parameter's will not do."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def word_of(choice: StrEnum) -> Any:
    """The word that was chosen; None for what suits."""
    return None if choice.value == "auto" else choice.value


def several(words: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(one.strip() for one in words.split(",") if one.strip())


def name_from(*words: str) -> str:
    """A name that a model can have, told by these words: gru-pump-2."""
    slugs = (re.sub(r"[^a-z0-9]+", "-", one.lower()).strip("-") for one in words)
    return "-".join(slugs)[:63].strip("-")
