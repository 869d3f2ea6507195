"""Content negotiation over `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import NotAcceptable

#: What an explanation can be had as; the first is what `*/*` gets.
EXPLANATION_TYPES = ("application/json", "image/png", "text/html")


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type that the client likes best.

    Args:
        accept: value of the `Accept` header; empty means anything.
        offered: media types, best first.

    Raises:
        NotAcceptable: the client accepts none of them.
    """
    ranges = [_range(part) for part in (accept.strip() or "*/*").split(",")]
    ranked = [(_quality(media_type, ranges), -index) for index, media_type in enumerate(offered)]
    quality, index = max(ranked)
    if quality <= 0:
        raise NotAcceptable(
            f"Accept: got '{accept}', but this is to be had as {', '.join(offered)}."
        )
    return offered[-index]


def preferred_encoding(accept_encoding: str, offered: Sequence[str]) -> str | None:
    """The offered content encoding that the client takes; None when it takes none of them.

    Args:
        accept_encoding: value of the `Accept-Encoding` header; empty takes none.
        offered: content encodings, best first.
    """
    if not accept_encoding:
        return None
    wanted = dict(_range(part) for part in accept_encoding.split(","))
    taken = [name for name in offered if wanted.get(name, wanted.get("*", 0.0)) > 0]
    return taken[0] if taken else None


def _range(part: str) -> tuple[str, float]:
    media_range, *parameters = (p.strip().lower() for p in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_range, float(parameter[2:])
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that matches; 0 when none does."""
    major = media_type.partition("/")[0]
    for wanted in (media_type, f"{major}/*", "*/*"):
        found = [quality for media_range, quality in ranges if media_range == wanted]
        if found:
            return max(found)
    return 0.0
