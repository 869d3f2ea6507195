"""Made-up runs and texts that a small network learns in a moment."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

GOOD = ("fine", "steady", "clean", "quiet", "smooth")
BAD = ("scratched", "loud", "cracked", "burnt", "loose")
FILLER = ("the", "part", "of", "line", "two", "is", "was", "and", "today", "very")


def runs_csv(path: Path, runs: int = 30, gaps: float = 0.0, seed: int = 0) -> Path:
    """Tools that wear out: heat rises as they do, vibration is noise; lines in no order.

    `wear` is what is left of the tool, in steps; `state` says worn or fresh, run by run.
    """
    random = np.random.default_rng(seed)
    lines = []
    for run in range(runs):
        steps, worn = int(random.integers(14, 30)), run % 2
        for step in range(steps):
            heat = 20 + step + 5 * worn + random.normal(0, 0.3)
            shown = "" if random.random() < gaps else f"{heat:.3f}"
            state = "worn" if worn else "fresh"
            lines.append([f"run{run}", step, shown, f"{random.normal():.3f}", steps - step, state])
    order = random.permutation(len(lines))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "time", "heat", "vibration", "wear", "state"])
        writer.writerows(lines[at] for at in order)
    return path


def remarks(folder: Path, each: int = 120, seed: int = 0) -> Path:
    """A folder of remarks, a file a label."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for label, words in (("good", GOOD), ("bad", BAD)):
        lines = []
        for _ in range(each):
            said = [*random.choice(FILLER, random.integers(2, 9)), random.choice(words)]
            lines.append(" ".join(str(word) for word in random.permutation(said)))
        (folder / f"{label}.txt").write_text("\n".join(lines) + "\n")
    return folder
