"""A window's score is the same alone and in any company: the same rows give the same log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.anomaly.stream import StreamKey
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.inference.registry import Registry
from service.protocol.stream_rows import Rows
from service.store import ModelStore
from service.streaming.engine import Engine
from service.streaming.scoring import TOGETHER, Scorer
from service.streaming.store import StreamStore
from tests.bench import line_model
from tests.small_detector import release_detector

CONFIG = StreamConfig(rate=0.02, warm_up_rows=0, on_delay_s=1, off_delay_s=1, period_s=1)
ROWS = 240


def scorer_of(home: Path, name: str) -> Scorer:
    return Scorer(Registry(ModelStore(home), "cpu", serves=False).get(name))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    release_detector(folder, "windows")
    line_model.release(folder)
    return folder


@pytest.mark.parametrize("name", ["windows", "line"])
@pytest.mark.parametrize("together", [2, 3, 64, 100, 200])
def test_a_window_has_the_score_that_it_has_alone(home: Path, name: str, together: int) -> None:
    scorer = scorer_of(home, name)
    shape = (200, scorer.subject.steps, len(scorer.subject.sensors))
    windows = list(np.random.default_rng(1).normal(size=shape).astype(np.float32))
    scores, shares = _joined(scorer, windows, 1)
    found, parts = _joined(scorer, windows, together)
    assert found.tobytes() == scores.tobytes()
    assert parts.tobytes() == shares.tobytes()


def _joined(scorer: Scorer, windows: list[Any], size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and shares of all windows, so many at a time."""
    parts = [scorer.score(windows[at : at + size]) for at in range(0, len(windows), size)]
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


def test_windows_run_together_where_it_changes_nothing_and_alone_where_it_does(
    home: Path, tmp_path: Path
) -> None:
    """A mean is summed in another order over one row than over several; a maximum has no order."""
    release_detector(tmp_path, "windows", level="ReduceMax")
    assert scorer_of(home, "windows").sizes == (1,)
    assert scorer_of(tmp_path, "windows").sizes == TOGETHER


@pytest.mark.parametrize("portion", [2, 7, ROWS])
def test_rows_in_other_portions_are_answered_and_logged_byte_for_byte_the_same(
    home: Path, tmp_path: Path, portion: int
) -> None:
    scorer = scorer_of(home, "windows")
    one_by_one = told(tmp_path / "one.db", scorer, 1)
    assert told(tmp_path / "many.db", scorer, portion) == one_by_one
    assert len(one_by_one[1]) >= 4


def told(path: Path, scorer: Scorer, portion: int) -> tuple[list[Any], list[Any]]:
    """What is said of rows that are sent in portions, and the events of the alarm log."""
    key = StreamKey("windows", "1", "L1.a")
    values = np.random.default_rng(5).normal(size=(ROWS, 2)) * 0.5
    at = np.arange(ROWS)
    values[:, 0] += np.where(at % 60 >= 50, np.where(at % 2, 6.0, -6.0), 0.0)
    answers: list[Any] = []

    async def run() -> list[Any]:
        engine = Engine(StreamStore(path), lambda *_: scorer.subject, lambda: None)
        await engine.start()
        for first in range(0, ROWS, portion):
            times = [int(n) * SECOND for n in at[first : first + portion]]
            sent = Rows(times, values[first : first + portion].astype(np.float32))
            taken = await engine.offer(scorer, {key: sent}, False, CONFIG)
            answers.extend(taken[key].answers)
        events = await engine.on_writer(lambda: engine.store.events(0, 1000, live=True))
        await engine.close()
        return list(events)

    return answers, asyncio.run(run())
