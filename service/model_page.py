"""The evaluation page of a released model, as it lies in the store beside its graph."""

from __future__ import annotations

from typing import Final

from service.errors import NotFound
from service.store import StoredModel

#: What a page can be had as, the first where nobody says: role of the asset by media type.
ROLES: Final = {"text/html": "page", "image/png": "evaluation"}


def model_page(stored: StoredModel, media_type: str) -> bytes:
    """The page as HTML, or its figures as PNG.

    Args:
        stored: a model version.
        media_type: one of ROLES.

    Raises:
        NotFound: it was released without one.
    """
    path = stored.asset(ROLES[media_type])
    if path is None:
        raise NotFound(
            f"{stored.manifest.reference}: it was released without an evaluation page, for want of "
            "test rows whose truth is known, or by an older Glassline. Release it again."
        )
    return path.read_bytes()
