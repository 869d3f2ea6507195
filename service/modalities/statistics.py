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


@lru_cache(maxsize=64)
def _read(path: Path, _sha256: str) -> TableBackground:
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ExplanationError(
            f"background statistics {path.name}: cannot be read ({error}). Release the model again."
        ) from None
    return TableBackground.from_json(content)
