"""The page of a stream's drift says what is known, at every stage of it, and needs nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from service.anomaly.stream import Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.streaming.description import drift_history
from service.streaming.drift_page import headline, page

SENSORS = ("flow", "heat", "noise")
NONE = np.zeros(3)
HEAT = np.array([0.0, 10.0, 0.0])
ALL = np.array([5.0, 25.0, 0.5])


def stream(*parts: tuple[int, np.ndarray, float]) -> Stream:
    """A stream with these rows, how far their sensors are shifted, and their scores."""
    config = {"warm_up_rows": 0, "rate": 0.001, "on_delay_s": 600, "period_s": 1, "drift_rows": 20}
    one = Stream.begin(
        StreamKey("press", "2", "L1.<b>"),
        Subject(SENSORS, 1, reference=np.arange(2000) / 2000),
        StreamConfig.parse(config, "test"),
    )
    clock = 1_772_000_000
    for seed, (count, shift, score) in enumerate(parts):
        rng = np.random.default_rng(seed)
        values = rng.normal([10, 50, 0], [1, 5, 0.1], (count, 3)) + shift
        times = [(clock + at) * SECOND for at in range(count)]
        clock += count
        staged = one.stage(times, values.astype(np.float32))
        scores = (rng.random(count) + score).astype(np.float32)
        one.conclude(staged, scores, None)
    return one


@pytest.mark.parametrize(
    ("parts", "head", "advice"),
    [
        ([], "Drift is not told yet", "0 of 30 blocks of 20 rows have come; 10 minutes are left"),
        ([(500, NONE, 0.0)], "Drift is not told yet", "25 of 30 blocks of 20 rows have come; 100"),
        ([(3000, NONE, 0.0)], "No drift", "Nothing to do: no signal is elsewhere"),
        ([(3000, NONE, 0.0), (1500, HEAT, 0.0)], "heat has drifted",
         "Look at the sensor: heat alone is "),
        ([(3000, NONE, 0.0), (1500, NONE, 2.0)], "score has drifted", "Recalibrate: scores have"),
        ([(3000, NONE, 0.0), (1500, ALL, 0.0)], "flow, noise and heat have drifted",
         "Retrain: 3 of 3 sensors"),
        ([(3000, NONE, 0.0), (1500, HEAT, 0.0), (110, NONE, 0.0)], "A drift is ending",
         "Nothing to do: what had drifted is back"),
    ],
)  # fmt: skip
def test_the_page_says_what_is_known_and_what_to_do(
    parts: list[tuple[int, np.ndarray, float]], head: str, advice: str
) -> None:
    said = drift_history(stream(*parts))
    text = page(said)
    assert headline(said) == head
    assert f"<h1>{head}</h1>" in text
    assert advice in text
    assert "L1.&lt;b&gt;" in text
    assert "<b>" not in text
    # Nothing is fetched and nothing runs.
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert set(re.findall(r'(?:src|href)="(\w+:[^;,]*)', text)) <= {"data:image/png"}
    assert ("data:image/png" in text) == said["learnt"]


def test_means_before_and_after_and_both_tests_stand_on_the_page() -> None:
    said = drift_history(stream((3000, NONE, 0.0), (1500, HEAT, 0.0)))
    heat = said["evidence"]["heat"]
    assert heat["before"]["mean"] == pytest.approx(50, abs=0.5)
    assert heat["after"]["mean"] == pytest.approx(60, abs=0.5)
    assert heat["adwin"]["apart"] > 2 * heat["adwin"]["by_chance"]
    text = page(said)
    for shown in (
        f"{heat['after']['mean']:.4g}, {heat['after']['blocks']} blocks",
        f"{heat['adwin']['apart']:.2f} ({heat['adwin']['by_chance']:.2f})",
        "2026-02-25 07:0",  # the step came 3000 s after 06:13:20
        "POST /v2/models/press/streams/L1.&lt;b&gt;/drift",
    ):
        assert shown in text
