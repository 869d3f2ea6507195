"""Background statistics that a release carries as an asset."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import orjson

from service.errors import ExplanationError
from service.explain.background import TableBackground
from service.modalities.modality import ExplainedModel

#: Role of the asset.
BACKGROUND = "background"
#: Role of the asset that says what is usual of each channel of a window: a JSON list of numbers.
USUAL = "usual"


def background_of(model: ExplainedModel) -> TableBackground | None:
    """The model's background statistics; None where it was released without.

    Raises:
        ExplanationError: they are no background statistics.
    """
    path = model.stored.asset(BACKGROUND)
    if path is None:
        return None
    # Assets were verified when the model was loaded; the digest is its identity.
    return _read(path, model.manifest.assets[BACKGROUND].sha256)


def usual_of(model: ExplainedModel) -> tuple[float, ...]:
    """What is usual of each channel, in its unit; nothing where the release does not say.

    Raises:
        ExplanationError: the asset is no list of numbers.
    """
    path = model.stored.asset(USUAL)
    return () if path is None else _read_usual(path, model.manifest.assets[USUAL].sha256)


@lru_cache(maxsize=64)
def _read_usual(path: Path, _sha256: str) -> tuple[float, ...]:
    try:
        content = orjson.loads(path.read_bytes())
        return tuple(float(value) for value in content)
    except (OSError, orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise ExplanationError(
            f"what is usual, {path.name}: cannot be read ({error}). Release the model again."
        ) from None


@lru_cache(maxsize=64)
def _read(path: Path, _sha256: str) -> TableBackground:
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ExplanationError(
            f"background statistics {path.name}: cannot be read ({error}). Release the model again."
        ) from None
    return TableBackground.from_json(content)
