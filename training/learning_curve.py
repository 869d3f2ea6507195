"""The learning curve of a fit, as a picture."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.fitting import Fitted


def learning_curve(fitted: Fitted, title: str) -> bytes:
    """A PNG: losses over the epochs, the released epoch, and the learning rate below."""
    epochs = range(1, len(fitted.epochs) + 1)
    figure = Figure(figsize=(7, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    dots = {"marker": "."} if len(fitted.epochs) < 2 else {}
    losses.plot(epochs, [one.training_loss for one in fitted.epochs], label="training", **dots)
    held = [one.validation_loss for one in fitted.epochs]
    losses.plot(epochs, held, label="validation", **dots)
    best = fitted.best
    losses.plot([best + 1], [held[best]], "o", mfc="none", label=f"released: epoch {best + 1}")
    losses.set(title=title, ylabel="loss")
    if min(min(held), min(one.training_loss for one in fitted.epochs)) > 0:
        losses.set_yscale("log")
    losses.grid(alpha=0.3)
    losses.legend()
    rates.plot(epochs, [one.learning_rate for one in fitted.epochs], color="gray", **dots)
    rates.set(xlabel="epoch", ylabel="learning rate")
    rates.grid(alpha=0.3)
    picture = io.BytesIO()
    # Without the date and the version of the software: the same curve is the same file.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
