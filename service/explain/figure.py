"""Charts drawn by matplotlib, without its global state: any thread may draw."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from service.explain.legend import AGAINST, FOR, INK, QUIET

#: Pixels an inch, and pixels a chart is wide.
DPI, WIDTH = 120, 960


def css(colour: tuple[int, int, int]) -> str:
    """A colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


FOR_CSS, AGAINST_CSS, INK_CSS, QUIET_CSS = (css(one) for one in (FOR, AGAINST, INK, QUIET))


def blank(height: int) -> Figure:
    """A white figure of WIDTH x `height` pixels."""
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def picture(figure: Figure) -> Image.Image:
    """The figure as pixels, RGB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Image.open(buffer).convert("RGB")


def literal(text: str, longest: int) -> str:
    """A text that is drawn as it stands: dollars would begin mathematics; long ones end in "…"."""
    plain = " ".join(text.split())
    return (plain if len(plain) <= longest else plain[: longest - 1] + "…").replace("$", r"\$")
