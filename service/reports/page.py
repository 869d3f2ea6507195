"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2

from service.reports.blocks import Report

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html(report: Report) -> str:
    """HTML 5 without a script and without any external resource."""
    return _TEMPLATES.get_template("page.html.j2").render(
        report=report, kind=lambda block: type(block).__name__, uri=_data_uri
    )


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
