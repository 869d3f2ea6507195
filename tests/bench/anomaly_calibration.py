"""The picture of service/anomaly/README.md, and the figures that stand beside it.

  python tests/bench/anomaly_calibration.py --data ../shared/data

Left, how far the rate of one calibration can be off. Right, an anomaly-free run of a pump (SKAB)
whose level drifts: scores are what a plane through the first 400 rows leaves over, calibrated on
the next 1,500, then judged at a fixed threshold and by the adaptive judge, 1 % false alarms asked.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.anomaly import conformal
from service.anomaly.adaptive import AdaptiveConformal
from service.anomaly.reference import reference
from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS

PICTURE = Path(__file__).resolve().parents[2] / "service/anomaly/pictures/calibration.png"
RATE, FITTED, CALIBRATED, KEPT = 0.01, 400, 1500, 3


def pump_scores(data: Path) -> NDArray[np.float64]:
    """Squared distance of each row, in the first rows' deviations, from their first directions."""
    path = data / "skab" / "anomaly-free" / "anomaly-free.csv"
    rows = np.genfromtxt(path, delimiter=";", skip_header=1, usecols=range(1, 9))
    first = rows[:FITTED]
    scaled = (rows - first.mean(axis=0)) / first.std(axis=0)
    _, _, directions = np.linalg.svd(scaled[:FITTED], full_matrices=False)
    left = scaled - scaled @ directions[:KEPT].T @ directions[:KEPT]
    return np.square(left).sum(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    scores = pump_scores(parser.parse_args().data)
    known = reference(scores[FITTED : FITTED + CALIBRATED])
    run = scores[FITTED + CALIBRATED :]
    limit = conformal.threshold(known, RATE)
    judge = AdaptiveConformal(known, RATE)
    start = time.process_time()
    alarms = np.array([judge.judge(score).alarm for score in run.tolist()])
    micros = (time.process_time() - start) / len(run) * 1e6
    static = float((run > limit).mean())
    print(
        f"{len(run)} rows, asked {RATE:.2%}: fixed threshold {static:.2%}, adaptive "
        f"{judge.realised:.2%} ({judge.realised / RATE:.3f} of the budget), {micros:.1f} us a row"
    )
    draw(run, limit, alarms, static, judge.realised)


def draw(
    run: NDArray[np.float64], limit: float, alarms: NDArray[np.bool_], static: float, kept: float
) -> None:
    figure = Figure(figsize=(13, 4.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.7])
    n = np.unique(np.geomspace(100, 100_000, 60).astype(int))
    ends = np.array([conformal.realised(int(rows), RATE) for rows in n]) * 100
    left.fill_between(
        n, *ends.T, color=FOR_CSS, alpha=0.25, linewidth=0, label="nine calibrations of ten"
    )
    left.axhline(100 * RATE, color=INK_CSS, linewidth=1, linestyle=":", label="asked for")
    left.axvline(conformal.wanted_rows(RATE), color=QUIET_CSS, linewidth=1)
    left.annotate(
        f"{conformal.wanted_rows(RATE)} rows:\nwithin a quarter",
        (conformal.wanted_rows(RATE), 0.1),
        (6, 0),
        textcoords="offset points",
        fontsize=9,
        color=QUIET_CSS,
    )
    left.set(
        xscale="log",
        xlabel="anomaly-free rows that it was calibrated on",
        ylabel="false alarms it realises, %",
        ylim=(0, 3),
    )
    left.set_title("One calibration", fontsize=11, loc="left")
    left.legend(loc="upper right", fontsize=9, frameon=False)
    rows = np.arange(len(run))
    right.plot(rows, run, color=QUIET_CSS, linewidth=0.5, label="score of an anomaly-free run")
    right.axhline(
        limit, color=FOR_CSS, linewidth=1.4, label=f"fixed threshold: {static:.0%} false alarms"
    )
    right.plot(
        rows[alarms],
        run[alarms],
        ".",
        color=AGAINST_CSS,
        markersize=6,
        label=f"alarms of the adaptive judge: {kept:.2%}",
    )
    right.set(yscale="log", xlabel="row, one a second", ylabel="score")
    right.set_title("A pump that drifts, 1 % asked for", fontsize=11, loc="left")
    right.legend(loc="lower right", fontsize=9, framealpha=1, edgecolor="white")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Software": None})
    print(f"drawn: {PICTURE}")


if __name__ == "__main__":
    main()
