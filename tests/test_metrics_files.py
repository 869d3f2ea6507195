"""However many processes died, what they counted stays, once, in few files."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from service import metrics_files
from tests.running_server import Server, a_server
from tests.test_crew import INFER, PNG, predicting_processes
from tests.test_metrics import EXPOSE, printed, python, samples, workers

#: Counts like a worker, is killed like one, and says how often it observed what.
SHORT_LIFE = """
import os, signal
from service import metrics, tally
from service.model_metrics import ModelMetrics
model = ModelMetrics("m", "1")
for _ in range(3):
    model.predict(0.002, 4)
metrics.EXPLANATIONS.labels("done").inc(2)
metrics.EXPLANATIONS_WAITING.inc(7)
tally.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
GONE = 4_000_000  # more than Linux gives out by default


def live_and_die(directory: Path, lives: int) -> None:
    running = [python(SHORT_LIFE, directory) for _ in range(lives)]
    for process in running:
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL


def test_a_worker_that_dies_again_and_again_leaves_its_counts_in_as_many_files(
    tmp_path: Path,
) -> None:
    with workers(tmp_path, 1):
        files, buckets = [], []
        for generation in (1, 2):
            live_and_die(tmp_path, 4)
            text = printed(EXPOSE, tmp_path)
            shown = samples(text)
            assert shown["request_predict_seconds_count"] == 1 + 12 * generation
            assert shown["request_predict_seconds_sum"] == pytest.approx(
                0.002 * (1 + 12 * generation)
            )
            assert shown["glassline_explanations_total"] == 1 + 8 * generation
            assert shown["glassline_explanations_waiting"] == 1  # of the dead, nobody waits
            assert time.time() - 60 < shown["glassline_last_inference_timestamp_seconds"]
            buckets.append(bucket(text, "0.0025"))
            files.append(len(list(tmp_path.glob("*.db"))))
        assert buckets == [13, 25]
        assert files[0] == files[1] <= 12  # a few kinds, of the living and of the dead


def bucket(text: str, le: str) -> float:
    (value,) = (
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "request_predict_seconds_bucket" and sample.labels["le"] == le
    )
    return value


def written(directory: Path, kind: str, pid: int, values: dict[str, float]) -> Path:
    """A file as prometheus_client leaves it."""
    file = directory / f"{kind}_{pid}.db"
    entries = MmapedDict(str(file))
    for key, value in values.items():
        entries.write_value(key, value, 0.0)
    entries.close()
    return file


def read(file: Path) -> dict[str, float]:
    return {key: v for key, v, _, _ in MmapedDict.read_all_values_from_file(str(file))}


@pytest.mark.parametrize(
    ("kind", "joined"),
    [("counter", 7), ("histogram", 7), ("summary", 7), ("gauge_sum", 7), ("gauge_max", 5),
     ("gauge_min", 2)],
)  # fmt: skip
def test_each_kind_is_joined_by_its_own_rule(tmp_path: Path, kind: str, joined: float) -> None:
    # Keys of every length modulo 8: prometheus_client pads them.
    keys = ["k" * length for length in range(1, 10)]
    written(tmp_path, kind, GONE, dict.fromkeys(keys, 2.0))
    written(tmp_path, kind, GONE + 1, dict.fromkeys([*keys, "its own"], 5.0))
    alive = written(tmp_path, kind, os.getpid(), {"k": 100.0})
    with metrics_files.steady(tmp_path):
        assert sorted(tmp_path.glob("*.db")) == sorted([alive, tmp_path / f"{kind}_dead.db"])
    assert read(tmp_path / f"{kind}_dead.db") == {**dict.fromkeys(keys, joined), "its own": 5}
    assert read(alive) == {"k": 100}


#: A merge that is killed as it begins to remove what it has merged.
KILLED_MERGE = """
import os, signal, sys
from pathlib import Path
from service import metrics_files
Path.unlink = lambda self, missing_ok=False: os.kill(os.getpid(), signal.SIGKILL)
with metrics_files.steady(Path(sys.argv[1])):
    pass
"""


def test_a_merge_that_is_killed_before_it_tidied_up_counts_nothing_twice(tmp_path: Path) -> None:
    written(tmp_path, "counter", GONE, {"k": 1.0})
    written(tmp_path, "counter", GONE + 1, {"k": 2.0})
    merging = python(KILLED_MERGE, None, str(tmp_path))
    merging.communicate(timeout=30)
    assert merging.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("counter_*.db"))) == 3  # merged, and still there
    written(tmp_path, "counter", GONE + 2, {"k": 3.0})
    for _ in range(2):
        with metrics_files.steady(tmp_path):
            assert [file.name for file in tmp_path.glob("*.db")] == ["counter_dead.db"]
        assert read(tmp_path / "counter_dead.db") == {"k": 6}


def test_what_a_process_left_that_was_killed_at_its_first_breath_breaks_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / f"counter_{GONE}.db").touch()
    written(tmp_path, "counter", GONE + 1, {"k": 4.0})
    with metrics_files.steady(tmp_path):
        assert read(tmp_path / "counter_dead.db") == {"k": 4}
    assert [file.name for file in tmp_path.glob("*.db")] == ["counter_dead.db"]


def test_gauges_that_are_shown_for_each_process_are_left_alone(tmp_path: Path) -> None:
    file = written(tmp_path, "gauge_all", GONE, {"k": 1.0})
    with metrics_files.steady(tmp_path):
        assert file.exists()


@pytest.fixture
def own_server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """Two workers on a copy of the store, which the test unloads a model of."""
    own = tmp_path / "home"
    shutil.copytree(home / "bentoml" / "models", own / "bentoml" / "models")
    with a_server(own, tmp_path / "log", GLASSLINE_WORKERS="2") as running:
        yield running


@pytest.mark.slow
def test_counters_of_a_server_never_go_down_while_its_workers_are_killed(
    own_server: Server, digit_png: bytes
) -> None:
    seen: list[float] = []
    with own_server.client(30) as client:

        def scrape() -> float:
            answered = [
                sample.value
                for family in text_string_to_metric_families(client.get("/metrics").text)
                for sample in family.samples
                if sample.name == "http_server_request_duration_seconds_count"
                and (sample.labels["route"], sample.labels["status"])
                == ("/v2/models/{model}/infer", "200")
            ]
            return sum(answered)

        for life in range(1, 3):
            for _ in range(20):
                assert client.post(INFER, content=digit_png, headers=PNG).status_code == 200
            time.sleep(0.6)  # what waits in a process is handed over four times a second
            seen.append(scrape())
            assert seen[-1] == 20 * life
            os.kill(predicting_processes(own_server)[0], signal.SIGKILL)
            for _ in range(20):
                try:
                    seen.append(scrape())
                except httpx.TransportError:
                    pass  # it asked the very process that died
            own_server.wait_ready(60)
            seen.append(scrape())
        # Nobody answers a model that is unloaded, and so it runs nowhere.
        assert provider(client) == {1.0}
        assert client.post("/v2/repository/models/lenet-digits/unload").status_code == 200
        deadline = time.monotonic() + 10
        while provider(client) != {0.0}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert seen == sorted(seen)


def provider(client: httpx.Client) -> set[float]:
    return {
        sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "glassline_model_provider" and sample.labels["model"] == "lenet-digits"
    }
