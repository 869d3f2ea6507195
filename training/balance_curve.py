"""How generator and discriminator did over the epochs, as a picture."""

from __future__ import annotations

import io
import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.adversarial import Fought


def balance_curve(fought: Fought, title: str) -> bytes:
    """A PNG: Fréchet distance, both losses, and how much the discriminator tells rightly."""
    rounds, best = fought.rounds, fought.best
    epochs = range(1, len(rounds) + 1)
    figure = Figure(figsize=(7, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    distances, losses, shares = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    dots = {"marker": "."} if len(rounds) < 2 else {}
    distances.plot(epochs, [one.distance for one in rounds], color="C2", **dots)
    released = f"released: epoch {best + 1}, {rounds[best].distance:.3g}"
    distances.plot([best + 1], [rounds[best].distance], "o", mfc="none", c="C2", label=released)
    if min(one.distance for one in rounds) > 0:
        distances.set_yscale("log")
    distances.set(title=title, ylabel="Fréchet distance, validation")
    losses.plot(epochs, [one.discriminator for one in rounds], label="discriminator", **dots)
    losses.plot(epochs, [one.generator for one in rounds], label="generator", **dots)
    for blind in (math.log(4), math.log(2)):
        losses.axhline(blind, color="gray", linewidth=1, linestyle=":")
    losses.set(ylabel="loss; dotted: nothing is told apart")
    shares.plot(epochs, [one.right for one in rounds], color="gray", **dots)
    shares.axhline(0.5, color="gray", linewidth=1, linestyle=":")
    shares.set(xlabel="epoch", ylabel="told rightly", ylim=(0.4, 1.02))
    for axes in (distances, losses, shares):
        axes.grid(alpha=0.3)
    distances.legend()
    losses.legend()
    picture = io.BytesIO()
    # Without the date and the version of the software: the same curve is the same file.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
