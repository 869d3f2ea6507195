"""The figures of an evaluation page that are read first, each with how far it may be off."""

from __future__ import annotations

from service.explain.legend import number
from service.manifest import Manifest
from training.detection import Detection
from training.evaluation import Classification, Regression
from training.generation import Generation
from training.intervals import Interval

#: Name, figure, and what stands below it.
Tile = tuple[str, str, str]


def tiles(
    manifest: Manifest, found: Classification | Regression | Detection | Generation
) -> list[Tile]:
    """The tiles of a page."""
    rows = ("test rows", f"{found.rows}", "that it has never seen")
    if isinstance(found, Classification):
        shown = _classification(found, rows)
    elif isinstance(found, Generation):
        shown = _generation(found)
    elif isinstance(found, Detection):
        shown = [*_detection(found), rows]
    else:
        shown = [*_regression(found), rows]
    flips = ""
    if not isinstance(found, Regression | Generation):
        kind = "verdicts" if isinstance(found, Detection) else "labels"
        flips = f"; {manifest.parity.label_flips} {kind} flipped"
    apart = f"{manifest.parity.max_abs_difference:.1e}"
    return [*shown, ("graph against network", apart, f"largest difference{flips}")]


def _classification(found: Classification, rows: Tile) -> list[Tile]:
    below = "of confidence"
    if found.temperature is not None:
        below += f"; temperature {found.temperature:.2f}"
    return [
        ("accuracy", _percent(found.accuracy), f"95 %: {share_range(found.interval)}"),
        rows,
        ("calibration error", _percent(found.reliability.error), below),
    ]


def _regression(found: Regression) -> list[Tile]:
    unit = f" {found.unit}" if found.unit else ""
    return [
        ("mean absolute error", f"{number(found.mae)}{unit}", _between(found.mae_interval)),
        ("root mean squared error", f"{number(found.rmse)}{unit}", _between(found.rmse_interval)),
        ("R²", f"{found.r2:.3f}", "share of the variance that it explains"),
    ]


def _detection(found: Detection) -> list[Tile]:
    shown = []
    if found.auroc is not None and found.auroc_interval is not None:
        low, high = found.auroc_interval
        shown.append(("AUROC", f"{found.auroc:.3f}", f"95 %: {low:.3f} to {high:.3f}"))
    if found.false_alarms is not None:
        asked = _percent(found.calibration.budget.rate)
        below = f"asked for {asked}; 95 %: {share_range(found.false_alarm_interval)}"
        shown.append(("false alarms", _percent(found.false_alarms), below))
    if found.misses is not None:
        below = f"95 %: {share_range(found.miss_interval)}"
        shown.append(("anomalies missed", _percent(found.misses), below))
    return shown


def _generation(found: Generation) -> list[Tile]:
    like = found.likeness
    return [
        ("Fréchet distance", number(like.generated), f"features: {found.space}"),
        ("that of real halves", number(like.real), f"{like.rows} pictures on each side"),
        ("ratio", f"{like.ratio:.2f}", "1 = as real as real ones"),
        ("novelty", f"{found.novelty:.2f}", "1 = as new as real ones, near 0 = copies"),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def share_range(interval: Interval) -> str:
    """An interval of shares, in per cent."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def _between(interval: Interval) -> str:
    return f"95 %: {number(interval.low)} to {number(interval.high)}"
