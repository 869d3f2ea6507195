"""Explanations in bulk by one worker and by two, turn by turn, and what this machine can do.

  python tests/bench/explain_bulk.py                3 turns of each, about 4 minutes
  python tests/bench/explain_bulk.py --rounds 1 --rows 120

`glassline explain --batch` is timed from its first finished chunk to its last, so the start of
Ray and of the workers is told apart. `without Ray` are as many plain processes with the same
engine and model, `ONNX Runtime` as many that do nothing but run the graph: where two of these
do not reach twice one, neither can two workers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from service.bulk.inputs import open_inputs
from service.bulk.run import Asked, explain_all
from service.bulk.worker import BulkExplainer, ModelFiles, OpenModel, Task
from service.explain.parameters import ExplainParameters
from service.settings import Settings
from service.store import ModelStore
from tests.running_server import glassline

MODEL = "lenet-digits"
SECONDS = 5.0
ASKED = ExplainParameters.model_validate({})


def in_bulk(home: str, workers: int, out: str) -> tuple[float, float]:
    """Rows a second while chunks come in, and seconds until the first did."""
    moments: list[tuple[float, int]] = []
    start = time.perf_counter()
    stored = ModelStore(Path(home)).get(MODEL)
    asked = Asked(Path(home) / "rows.parquet", Path(out), stored, ASKED, workers, None)
    explain_all(
        asked, Settings(home=Path(home)),
        lambda done, _failed, _rows: moments.append((time.perf_counter(), done)),
    )  # fmt: skip
    (_, nothing), (first, some), *_ = moments
    assert nothing == 0
    last, everything = moments[-1]
    return (everything - some) / (last - first), first - start


def without_ray(home: str, begin: float) -> float:
    """Rows a second of one process."""
    stored = ModelStore(Path(home)).get(MODEL)
    inputs = open_inputs(Path(home) / "rows.parquet", stored.manifest)
    task = Task(inputs.layout, ASKED, "cpu", 0, 10**8, 600.0, inputs.id_type)
    explainer = BulkExplainer(ModelFiles(stored.manifest.canonical(), str(stored.folder)), task)
    rows = next(inputs.pieces())
    explainer(rows.slice(0, 1))
    return _counted(begin, lambda at: explainer(rows.slice(at % len(rows), 1)))


def graph_alone(home: str, begin: float) -> float:
    """Batches a second of one process."""
    model = OpenModel.of(ModelStore(Path(home)).get(MODEL), "cpu", 0)
    batch = {"image": np.zeros((256, 1, 32, 32), np.uint8)}
    return _counted(begin, lambda _: model.predict(batch))


def _counted(begin: float, work: Any) -> float:
    """Calls a second from `begin` on, which is the same moment for all processes."""
    if (wait := begin - time.time()) < 0:
        raise RuntimeError("this process was not ready in time; the machine is too busy")
    time.sleep(wait)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        work(count)
        count += 1
    return count / (time.perf_counter() - start)


def together(measure: Any, home: str, processes: int) -> float:
    """The sum over so many processes."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        begin = time.time() + 20
        return sum(pool.map(measure, [home] * processes, [begin] * processes))


def alone(home: str, workers: int, out: str) -> tuple[float, float]:
    """`in_bulk` in a process of its own, as the command runs."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(in_bulk, home, workers, out).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=240)
    options = parser.parse_args()
    names = ("glassline explain --batch", "without Ray", "ONNX Runtime")
    figures: dict[tuple[str, int], list[float]] = {(n, w): [] for n in names for w in (1, 2)}
    starts: list[float] = []
    busy = []
    with tempfile.TemporaryDirectory() as home:
        done = glassline("train", "cnn", "--epochs", "2", home=Path(home))
        assert done.returncode == 0, done.stderr
        states = np.random.default_rng(0).integers(0, 256, (options.rows, 32 * 32))
        pq.write_table(pa.table({"image": pa.array(states.tolist())}), Path(home) / "rows.parquet")
        for turn in range(options.rounds):
            for workers in (1, 2):
                busy.append(os.getloadavg()[0])
                rate, start = alone(home, workers, f"{home}/out-{turn}-{workers}.parquet")
                figures[names[0], workers].append(rate)
                starts.append(start)
                figures[names[1], workers].append(together(without_ray, home, workers))
                figures[names[2], workers].append(together(graph_alone, home, workers))
    table = Table("", "1 process a second", "2 processes a second", "ratio", "of each turn")
    for name in names:
        one, two = figures[name, 1], figures[name, 2]
        ratios = [b / a for a, b in zip(one, two, strict=True)]
        table.add_row(
            name, f"{median(one):.2f}", f"{median(two):.2f}", f"{median(ratios):.2f}",
            " ".join(f"{ratio:.2f}" for ratio in ratios),
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{len(os.sched_getaffinity(0))} CPUs, load {min(busy):.1f} to {max(busy):.1f} before each "
        f"turn; seconds to the first chunk: {median(starts):.1f}"
    )


if __name__ == "__main__":
    main()
