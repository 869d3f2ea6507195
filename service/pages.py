"""HTML pages that need no other file: for reading, printing, filing."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2


def templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder: everything is escaped, and a name that nobody gave is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(picture: bytes, kind: str = "png") -> str:
    """A picture inside the page itself; `kind` is what follows `image/`."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
