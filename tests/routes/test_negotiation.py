"""Accept headers, worked by hand (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import pytest

from service.errors import NotAcceptable
from service.routes.negotiation import EXPLANATION_TYPES, preferred


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", "text/html"),
        ("application/json;q=0.5, image/png;q=0.9", "image/png"),
        ("image/png;q=0, */*", "application/json"),
        ("*/*;q=0.1, text/html;q=0.2", "text/html"),
        ("text/html;level=1", "text/html"),
    ],
)
def test_the_most_wanted_type_is_chosen(accept: str, chosen: str) -> None:
    assert preferred(accept, EXPLANATION_TYPES) == chosen


@pytest.mark.parametrize("accept", ["video/mp4", "image/png;q=0", "*/*;q=0", "image/png;q=much"])
def test_nothing_wanted_is_refused_with_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, text/html"):
        preferred(accept, EXPLANATION_TYPES)
