"""Counts survive the processes that made them; live gauges do not; nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import metrics
from tests.running_server import REPOSITORY

WORKER = """
import sys, time
from service import metrics, tally
from service.model_metrics import ModelMetrics
model = ModelMetrics("m", "1")
for _ in range(int(sys.argv[1])):
    model.predict(0.002, 4)
metrics.EXPLANATIONS_WAITING.inc(int(sys.argv[1]))
metrics.EXPLANATIONS.labels("done").inc(int(sys.argv[1]))
time.sleep(2 * tally.FLUSH_SECONDS)  # what waits longer than that has been handed over
print("done", flush=True)
sys.stdin.read()
"""

EXPOSE = "from service import metrics; print(metrics.exposition()[0].decode())"

#: Every method and every metric once.
EVERYTHING = """
from service import metrics
from service.model_metrics import ModelMetrics
model = ModelMetrics("m", "1")
model.loaded(1.5, "CPUExecutionProvider", "no driver")
model.preprocess(0.001)
model.queued(0.001)
model.waiting.set(3)
model.predict(0.002, 4)
model.postprocess(0.001)
model.explained(2.0, 1000, [0.5, 0.95])
metrics.observe_request("POST", "/v2/models/{model}/infer", 200, 0.004, ("m", "1"))
metrics.observe_request("BREW", "-", 404, 0.004, None)
metrics.EXPLANATIONS.labels("done").inc()
metrics.EXPLANATIONS_WAITING.set(2)
metrics.REQUESTS_REFUSED.labels("Overloaded").inc()
metrics.AUDIT_APPEND.labels("prediction").observe(0.003)
metrics.AUDIT_GROUP.observe(12)
metrics.AUDIT_MISSED.labels("m", "1").inc()
from service import stream_metrics
stream_metrics.ROWS.labels("m", "1", "accepted").inc()
stream_metrics.STREAMS.set(2)
stream_metrics.TURN.observe(0.003)
stream_metrics.EVENTS.labels("m", "1", "raised").inc()
stream_metrics.ACTIVE.labels("m", "1").inc()
stream_metrics.FLOODS.inc()
metrics.DEADLINES.labels("m", "1").inc()
stream_metrics.FEEDBACK.labels("m", "1", "true").inc()
stream_metrics.UNEXPLAINED.labels("flood or shelved").inc()
import numpy as np
verdict = np.array(["anomaly", "normal", "normal"], object)
threshold, score = np.full(3, 2.0, np.float32), np.array([[5.0], [1.0], [0.5]], np.float32)
p_value = np.array([0.002, 0.4, 0.7])
model.acted(np.array([True, False, True]))
model.judged({"verdict": verdict, "p_value": p_value, "threshold": threshold, "score": score})
"""


def python(code: str, directory: Path | None, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    if directory:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def printed(code: str, directory: Path | None) -> str:
    process = python(code, directory)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return output


def samples(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }


@contextmanager
def workers(directory: Path, *counts: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have counted and now stand idle."""
    running = [python(WORKER, directory, str(n)) for n in counts]
    try:
        for worker in running:
            assert worker.stdout
            assert worker.stdout.readline() == "done\n"
        yield running
    finally:
        for worker in running:
            worker.kill()
            worker.communicate()


def test_two_workers_are_summed_and_a_killed_one_still_counts(tmp_path: Path) -> None:
    with workers(tmp_path, 3, 5) as running:
        both = samples(printed(EXPOSE, tmp_path))
        assert both["request_predict_seconds_count"] == 8
        assert both["glassline_batch_rows_sum"] == 32
        assert both["glassline_explanations_total"] == 8
        assert both["glassline_explanations_waiting"] == 8
        running[0].send_signal(signal.SIGKILL)
        running[0].wait()
        after = samples(printed(EXPOSE, tmp_path))
        assert after["request_predict_seconds_count"] == 8
        assert after["glassline_explanations_total"] == 8
        assert after["glassline_explanations_waiting"] == 5
        with workers(tmp_path, 2):  # the one that takes its place
            respawned = samples(printed(EXPOSE, tmp_path))
        assert respawned["request_predict_seconds_count"] == 10
        assert respawned["glassline_explanations_waiting"] == 7


def test_buckets_of_all_processes_are_summed_too(tmp_path: Path) -> None:
    with workers(tmp_path, 3, 5):
        text = printed(EXPOSE, tmp_path)
    buckets = {
        sample.labels["le"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "request_predict_seconds_bucket"
    }
    assert len(buckets) == len(metrics.PREDICT_BUCKETS) + 1
    assert {le: buckets[le] for le in ("0.001", "0.0025", "+Inf")} == {
        "0.001": 0,  # each took 2 ms
        "0.0025": 8,
        "+Inf": 8,
    }


def test_processes_that_reap_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with workers(tmp_path, 1, 2, 3, 4) as running:
        for worker in running[:3]:
            worker.kill()
            worker.wait()
        exposing = [python(EXPOSE, tmp_path) for _ in range(4)]
        texts = [process.communicate(timeout=30)[0] for process in exposing]
        assert [process.returncode for process in exposing] == [0] * 4
        for text in texts:
            assert samples(text)["request_predict_seconds_count"] == 10
            assert samples(text)["glassline_explanations_waiting"] == 4


@pytest.mark.parametrize("several", [True, False], ids=["several processes", "one process"])
def test_every_documented_metric_is_shown_with_its_type_and_help(
    tmp_path: Path, several: bool
) -> None:
    text = printed(EVERYTHING + EXPOSE, tmp_path / "made" / "here" if several else None)
    shown = {
        line.split(" ")[2]: (kind, line.split(" ", 3)[3])
        for line, kind_line in zip(text.splitlines(), text.splitlines()[1:], strict=False)
        if line.startswith("# HELP")
        for kind in [kind_line.split(" ")[3]]
    }
    documented = {name: (kind, text) for name, kind, text in metrics.documented()}
    assert documented.items() <= shown.items()
    values = samples(text)
    assert values["glassline_model_provider"] == 1
    assert values["glassline_requests_waiting"] == 3
    assert values["glassline_explanation_r2_count"] == 2
    assert values["glassline_p_value_sum"] == pytest.approx(1.102)
    assert values["glassline_score_over_threshold_ratio_sum"] == pytest.approx(3.25)
    assert 'glassline_verdicts_total{model="m",verdict="normal",version="1"} 2.0' in text
    assert values["glassline_safe_defaults_total"] == 2
    assert 'http_server_request_duration_seconds_count{method="-",model="-"' in text


def test_a_directory_that_is_named_too_late_hides_nothing(tmp_path: Path) -> None:
    late = (
        f"import os, prometheus_client\nos.environ['PROMETHEUS_MULTIPROC_DIR'] = {str(tmp_path)!r}"
    )
    assert samples(printed(late + EVERYTHING + EXPOSE, None))["request_predict_seconds_count"] == 1


def test_the_media_type_is_the_one_that_scrapers_know() -> None:
    assert metrics.exposition()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_every_metric_says_what_it_is() -> None:
    rows = metrics.documented()
    assert len(rows) == len({name for name, _, _ in rows}) >= 14
    assert all(text.endswith(".") for _, _, text in rows)
