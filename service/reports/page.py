"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from service.pages import data_uri, templates
from service.reports.blocks import Report

_TEMPLATES = templates(Path(__file__).parent)


def html(report: Report) -> str:
    """HTML 5 without a script and without any external resource."""
    return _TEMPLATES.get_template("page.html.j2").render(
        report=report, kind=lambda block: type(block).__name__, uri=data_uri
    )
