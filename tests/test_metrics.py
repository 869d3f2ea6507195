"""Counts survive the processes that made them; live gauges do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service import metrics
from tests.running_server import REPOSITORY

WORKER = """
import sys
from service import metrics
model = metrics.ModelMetrics("m", "1")
for _ in range(int(sys.argv[1])):
    model.predict(0.002, 4)
metrics.EXPLANATIONS_WAITING.inc(int(sys.argv[1]))
print("done", flush=True)
sys.stdin.read()
"""

EXPOSE = "from service import metrics; print(metrics.exposition()[0].decode())"


def python(code: str, directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def samples(directory: Path) -> dict[str, float]:
    output, _ = python(EXPOSE, directory).communicate()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(output)
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_two_workers_are_summed_and_a_killed_one_still_counts(tmp_path: Path) -> None:
    workers = [python(WORKER, tmp_path, "3"), python(WORKER, tmp_path, "5")]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "done\n"
    both = samples(tmp_path)
    assert both["request_predict_seconds_count"] == 8
    assert both["glassline_batch_rows_sum"] == 32
    assert both["glassline_explanations_waiting"] == 8
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    after = samples(tmp_path)
    assert after["request_predict_seconds_count"] == 8
    assert after["glassline_explanations_waiting"] == 5
    for worker in workers:
        worker.kill()
        worker.communicate()


def test_every_metric_says_what_it_is() -> None:
    rows = metrics.documented()
    assert len(rows) == len({name for name, _, _ in rows}) >= 14
    assert all(text.endswith(".") for _, _, text in rows)
