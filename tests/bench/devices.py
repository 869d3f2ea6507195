"""Milliseconds a batch on each device: `python tests/bench/devices.py [--quick] [--json FILE]`.

LeNet-5 and ResNet-18 (random weights) through the service's own session, in batches of 1, 8, 32
and 128, on the CPU and, where ONNX Runtime opens it, on CUDA: with tensors bound to the GPU's
memory and without. Variants take turns, so that a noisy moment meets them all; the figure is
the median. Every answer is compared with the CPU's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.errors import Unavailable
from service.inference import devices
from service.inference.devices import Bound
from service.inference.session import warm_session
from service.store import ModelStore, StoredModel
from tests.bench.subjects import MODEL, SUBJECTS, Subject

BATCHES = (1, 8, 32, 128)
Run = Callable[[dict[str, Any]], Any]


def variants(model: StoredModel) -> dict[str, Run]:
    """Ways to run the model here, by name; the CPU's first."""
    ways: dict[str, Run] = {"cpu": warm_session(model, "cpu").run}
    try:
        session = warm_session(model, "cuda")
    except Unavailable:
        return ways
    bound = session._run
    assert isinstance(bound, Bound)
    ways["cuda, bound"] = session.run
    direct = warm_session(model, "cuda")
    direct._run = partial(bound._session.run, direct.output_names)
    ways["cuda, direct"] = direct.run
    return ways


def measure(subject: Subject, model: StoredModel, seconds: float) -> list[dict[str, Any]]:
    """A row for each batch size and variant; `seconds` for each, and two runs at least."""
    ways, rows = variants(model), []
    for batch in BATCHES:
        images = np.random.default_rng(0).integers(0, 256, (batch, *subject.shape), np.uint8)
        answers = {name: run({"image": images}) for name, run in ways.items()}  # and warm
        times: dict[str, list[float]] = {name: [] for name in ways}
        deadline = time.perf_counter() + seconds * len(ways)
        while time.perf_counter() < deadline or len(times["cpu"]) < 2:
            for name, run in ways.items():
                start = time.perf_counter()
                run({"image": images})
                times[name].append(time.perf_counter() - start)
        wanted = answers["cpu"]["probabilities"]
        for name, spent in times.items():
            median = statistics.median(spent)
            off = float(np.abs(answers[name]["probabilities"] - wanted).max())
            rows.append(
                {
                    "model": subject.name, "batch": batch, "device": name, "runs": len(spent),
                    "ms": 1e3 * median, "rows_per_second": batch / median, "off_cpu": off,
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time for each figure")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    rows = []
    for subject in SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="glassline-devices-") as home:
            subject.release(Path(home))
            rows += measure(
                subject, ModelStore(Path(home)).get(MODEL), 0.2 if options.quick else 2.0
            )
    table = Table("model", "batch", "device", "ms", "rows a second", "largest difference", "runs")
    for row in rows:
        table.add_row(
            row["model"], str(row["batch"]), row["device"], f"{row['ms']:.3f}",
            f"{row['rows_per_second']:.0f}", f"{row['off_cpu']:.1e}", str(row["runs"]),
        )  # fmt: skip
    console = Console()
    console.print(table)
    if devices.CUDA not in ort.get_available_providers():
        console.print("No CUDA here: the CPU alone was measured.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
