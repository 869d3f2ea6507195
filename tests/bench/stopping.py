"""Stopping early on the digits test split: how many samples it takes, and what it changes.

  GLASSLINE_HOME=.glassline python tests/bench/stopping.py            every third test picture
  GLASSLINE_HOME=.glassline python tests/bench/stopping.py --every 1  all 360

Needs lenet-digits in the home: glassline train cnn --arch lenet5 --data digits --if-missing
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.explain.config import ImageConfig
from service.explain.image import explain_image
from service.explain.stopping import TOP
from service.inference.session import Session
from service.settings import load
from service.store import ModelStore
from training.data import digits

CONFIDENCES = (0.7, 0.8, 0.85, 0.9, 0.95)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=3, help="picture of the test split; default 3")
    parser.add_argument("--samples", type=int, default=1000, help="num_samples; default 1000")
    options = parser.parse_args()
    session = Session(ModelStore(load().root).get("lenet-digits", "1"))

    def predict(images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        scores: NDArray[np.floating[Any]] = session.run({"image": images})["probabilities"]
        return scores

    config = ImageConfig(num_samples=options.samples)
    images = digits.load().test.images[:: options.every]
    used: dict[float, list[int]] = {c: [] for c in CONFIDENCES}
    order: dict[float, list[bool]] = {c: [] for c in CONFIDENCES}
    group: dict[float, list[bool]] = {c: [] for c in CONFIDENCES}
    for image in track(images, "explaining", console=Console(stderr=True)):
        full = [s for s, _ in explain_image(image, predict, config).of().weights[:TOP]]
        for chance in CONFIDENCES:
            early = explain_image(image, predict, replace(config, stop_confidence=chance))
            top = [s for s, _ in early.of().weights[:TOP]]
            used[chance].append(early.samples_used)
            order[chance].append(top == full)
            group[chance].append(set(top) == set(full))
    table = Table("stop_confidence", "mean samples", "median", "same order", "same five")
    for chance in CONFIDENCES:
        table.add_row(
            f"{chance:.2f}",
            f"{np.mean(used[chance]):.0f}",
            f"{np.median(used[chance]):.0f}",
            f"{np.mean(order[chance]):.0%}",
            f"{np.mean(group[chance]):.0%}",
        )
    title = f"{len(images)} digits, top {TOP} beside {options.samples} samples"
    table.title = title
    Console(width=90 if not sys.stdout.isatty() else None).print(table)


if __name__ == "__main__":
    main()
