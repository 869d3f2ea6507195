"""Another threshold for a released detector, without training it again."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.reference import Scores, from_npy, reference, to_npy
from service.anomaly.verdict import Method, calibrated
from service.errors import CalibrationError, Conflict
from service.inference.translator import warm
from service.manifest import Adaptive, Calibration, EventBudget, Manifest, RateBudget
from service.protocol.cells import is_number
from service.revision import Change, revised
from service.row_files import open_rows
from service.settings import Settings
from service.store import ModelStore, StoredModel

#: Figures that were measured at the old threshold.
_AT_THE_THRESHOLD = ("false_alarm_rate", "miss_rate")
#: Heading in a model card.
_AGAIN = "## Calibrated again"
#: Told rows done and rows in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to change; None = as it was.

    Attributes:
        budget, method, adaptive: see `Calibration`.
        scores: file of anomaly-free scores of this very graph: .npy, or a number a line.
        data: file or folder of anomaly-free rows, which are scored by the graph.
        constant: sensors that do not move in `data`, and need not.
        person, reason: who changes it, and why.
    """

    budget: RateBudget | EventBudget | None
    method: Method | None
    adaptive: Adaptive | None
    scores: Path | None
    data: Path | None
    constant: Sequence[str]
    person: str
    reason: str


def recalibrate(
    store: ModelStore, stored: StoredModel, asked: Asked, settings: Settings, progress: Progress
) -> tuple[StoredModel, str]:
    """Store the next version of a detector, with the same graph and another calibration.

    Returns:
        The new version, and the id of the record that says what was changed.

    Raises:
        Conflict: the model is no detector.
        CalibrationError: too few scores for the budget (the message says how many it takes), or
            nothing would change.
        InvalidRequest, NotFound: scores or rows that cannot be read.
        StoreError, Unavailable: it cannot be stored or recorded.
    """
    before = stored.manifest.calibration
    if before is None:
        raise Conflict(
            f"{stored.manifest.reference} can {stored.manifest.task}: only models that find "
            "anomalies have a threshold to calibrate."
        )
    scores, source = _scores(stored, asked, settings, progress)
    budget = asked.budget or before.budget
    adaptive = asked.adaptive or before.adaptive
    method = asked.method or before.method
    after = calibrated(scores, budget, method, adaptive, stored.manifest.reference)
    content = to_npy(scores)
    if after.model_copy(update={"recalibrates": before.recalibrates}) == before and (
        hashlib.sha256(content).hexdigest() == stored.manifest.assets[before.scores].sha256
    ):
        raise CalibrationError(
            f"{stored.manifest.reference}: nothing would change. Give another --budget, --method, "
            "--scores or --data."
        )
    said = {"before": _told(before), "after": _told(after), "scores": source}
    record = Change(settings, "calibration", asked.person, asked.reason, said)
    file = stored.manifest.assets[before.scores].file
    changes = {
        "calibration": after,
        "metrics": {name: value for name, value in stored.manifest.metrics.items()
                    if name not in _AT_THE_THRESHOLD},
        "card": _card(stored.manifest, after, store.next_version(stored.manifest.name)),
    }  # fmt: skip
    fresh = revised(store, stored, {after.scores: (file, content)}, changes, record)
    return fresh, record.record_id


def _scores(
    stored: StoredModel, asked: Asked, settings: Settings, progress: Progress
) -> tuple[Scores, dict[str, Any]]:
    """The anomaly-free scores, and where they come from."""
    if asked.data is not None:
        rows = _scored(stored, asked, settings, progress)
        return reference(rows), {"from": "rows", "name": asked.data.name, "n": len(rows)}
    if asked.scores is not None:
        found = reference(_read_scores(asked.scores))
        digest = hashlib.sha256(asked.scores.read_bytes()).hexdigest()
        return found, {"from": "scores", "name": asked.scores.name, "sha256": digest,
                       "n": len(found)}  # fmt: skip
    calibration = stored.manifest.calibration
    assert calibration is not None
    path = stored.asset(calibration.scores)
    assert path is not None  # the manifest says so
    return from_npy(path.read_bytes()), {"from": stored.manifest.reference, "n": calibration.n}


def _scored(
    stored: StoredModel, asked: Asked, settings: Settings, progress: Progress
) -> NDArray[Any]:
    """Scores of anomaly-free rows, by the graph as it is served."""
    assert asked.data is not None
    manifest = stored.manifest
    rows = open_rows(asked.data, manifest, settings.max_image_pixels)
    session = warm(stored, settings.device, settings.threads)
    scores: list[NDArray[Any]] = []
    moving = _Moving(manifest, asked.constant)
    for done, (ids, inputs) in enumerate(rows.batches()):
        if session.preparation is not None:
            inputs = session.preparation.admit(inputs)
        moving.see(inputs[manifest.inputs[0].name])
        scores.append(session.run(inputs)["score"].reshape(-1))
        progress(done * len(scores[0]) + len(ids), len(rows.ids))
    moving.check(asked.data)
    return np.concatenate(scores)


class _Moving:
    """Whether every sensor of the windows moves: a dead one teaches nothing of its scores."""

    def __init__(self, manifest: Manifest, constant: Sequence[str]) -> None:
        window = manifest.inputs[0]
        self._names = window.features or ()
        self._sensors = manifest.images is None and len(window.shape) == 3
        if unknown := sorted(set(constant) - set(self._names)):
            raise CalibrationError(
                f"--constant: got {', '.join(unknown)}, wanted sensors of {manifest.reference}: "
                f"{', '.join(self._names) or 'it names none'}."
            )
        self._constant = frozenset(constant)
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None

    def see(self, windows: NDArray[Any]) -> None:
        """Windows (n, T, C); gaps say nothing."""
        if not self._sensors:
            return
        flat = windows.reshape(-1, windows.shape[-1])
        low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
        self._low = low if self._low is None else np.fmin(self._low, low)
        self._high = high if self._high is None else np.fmax(self._high, high)

    def check(self, path: Path) -> None:
        """Refuse sensors that never moved.

        Raises:
            CalibrationError: there is one that was not said to be constant.
        """
        if self._low is None or self._high is None:
            return
        dead = [
            self._names[at] if self._names else f"channel {at}"
            for at in np.flatnonzero(self._low == self._high).tolist()
        ]
        if left := [name for name in dead if name not in self._constant]:
            raise CalibrationError(
                f"{path}: sensors {', '.join(left)} have one and the same value in all rows, "
                "wanted ones that move: a sensor that is dead while it is calibrated raises false "
                "alarms once it lives. Collect other rows, or say --constant NAME for each that "
                "never moves."
            )


def _read_scores(path: Path) -> NDArray[np.float64]:
    """A .npy, or a text with a number a line; a first line that is none is a heading."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as content:
                array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
            if array.dtype.kind not in "iuf":
                raise ValueError(f"holds {array.dtype}, no numbers")
            return array.astype(np.float64)
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
        start = 1 if lines and not is_number(lines[0]) else 0
        return np.array([float(line) for line in lines[start:]], np.float64)
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise CalibrationError(
            f"{path}: cannot be read as scores ({error}). Wanted a .npy, or a number a line."
        ) from None


def _told(calibration: Calibration) -> dict[str, Any]:
    return calibration.model_dump(mode="json")


def _card(manifest: Manifest, after: Calibration, version: str) -> str:
    """The card with its new version and calibration; what was measured at the old one is gone."""
    gone = tuple(f"- {name}:" for name in (*_AT_THE_THRESHOLD, "false alarms"))
    kept = manifest.card.partition(f"\n{_AGAIN}")[0]
    lines = [line for line in kept.splitlines() if not line.startswith(gone)]
    if lines and lines[0].startswith("# "):
        lines[0] = f"# {manifest.name}, version {version}"
    lines = [
        *lines,
        "",
        _AGAIN,
        f"- from {manifest.reference}, whose graph, network and evaluation page these are",
        after.told(),
    ]
    return "\n".join(lines) + "\n"
