"""Another threshold for a released detector: the same graph, a new version, a record."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.anomaly.conformal import threshold
from service.store import ModelStore, StoredModel
from tests.running_server import Server, glassline
from tests.small_detector import normal_windows


def changed(home: Path, *arguments: str, model: str = "windows@1") -> StoredModel:
    """The version that the command makes."""
    done = glassline("models", "recalibrate", model, *arguments, home=home)
    assert done.returncode == 0, done.stderr
    name, version = re.search(r"^(\w+)@(\d+): from", done.stdout, re.M).groups()  # type: ignore[union-attr]
    return ModelStore(home).get(name, version)


def refused(home: Path, *arguments: str, model: str = "windows@1") -> str:
    before = ModelStore(home).list()
    done = glassline("models", "recalibrate", model, *arguments, home=home)
    assert done.returncode == 1, done.stdout
    assert ModelStore(home).list() == before
    return " ".join(done.stderr.split())


def test_another_budget_is_another_threshold_for_the_same_graph_and_is_recorded(
    detecting: Server, detector: httpx.Client
) -> None:
    old = ModelStore(detecting.home).get("windows", "1")
    new = changed(detecting.home, "--budget", "0.1", "--reason", "too quiet")
    before, after = old.manifest.calibration, new.manifest.calibration
    assert before is not None
    assert after is not None
    assert new.manifest.graphs == old.manifest.graphs
    assert new.manifest.assets["calibration"] == old.manifest.assets["calibration"]
    assert after.recalibrates == "windows@1"
    assert after.budget.rate == 0.1
    assert after.threshold < before.threshold
    assert "10 % of the anomaly-free rows allowed" in new.manifest.card
    # Beside the running server, which serves the new version once it is named.
    found = detector.get("/audit/records", params={"kind": "calibration"}).json()["records"]
    record = detector.get(f"/audit/records/{found[0]['id']}").json()["record"]
    assert record["model"]["version"] == new.manifest.version
    assert record["model"]["manifest_sha256"] == new.manifest.digest
    assert record["from"]["manifest_sha256"] == old.manifest.digest
    assert record["reason"] == "too quiet"
    assert (record["before"]["n"], record["after"]["budget"]["rate"]) == (500, 0.1)
    said = detector.get(f"/v2/models/windows/versions/{new.manifest.version}").json()
    assert said["parameters"]["calibration"]["threshold"] == after.threshold


def test_new_anomaly_free_rows_are_scored_by_the_graph_itself(
    detecting: Server, tmp_path: Path
) -> None:
    rows = 2 * normal_windows(300, 21)  # a machine that has become louder
    np.save(tmp_path / "quiet.npy", rows)
    new = changed(detecting.home, "--data", str(tmp_path / "quiet.npy"))
    calibration = new.manifest.calibration
    assert calibration is not None
    assert calibration.n == 300
    scores = np.sort(((rows - rows.mean(axis=1, keepdims=True)) ** 2).mean(axis=(1, 2)))
    assert calibration.threshold == pytest.approx(threshold(scores.astype(float), 0.02), rel=1e-5)
    lines = [",".join(map(str, step)) for window in rows[:200] for step in [*window, ()]]
    (tmp_path / "quiet.csv").write_text("pressure,heat\n" + "\n".join(lines) + "\n")
    by_csv = changed(detecting.home, "--data", str(tmp_path / "quiet.csv")).manifest.calibration
    assert by_csv is not None
    assert by_csv.n == 200


def test_events_an_hour_and_tails(detecting: Server, tmp_path: Path) -> None:
    events = changed(
        detecting.home, "--events-per-hour", "36", "--rows-per-hour", "3600", "--gamma", "0.01"
    ).manifest.calibration
    assert events is not None
    assert events.budget.rate == pytest.approx(0.01)
    assert events.adaptive is not None
    assert events.adaptive.gamma == 0.01
    (tmp_path / "scores.csv").write_text(
        "score\n" + "\n".join(map(str, np.random.default_rng(1).exponential(size=1500)))
    )
    tail = changed(
        detecting.home, "--scores", str(tmp_path / "scores.csv"), "--method", "evt", "--budget",
        "0.0001",
    ).manifest.calibration  # fmt: skip
    assert tail is not None
    assert tail.realised is None
    assert 4 < tail.threshold < 20  # -log(1e-4) = 9.2


def test_what_cannot_be_calibrated_is_refused_in_words(detecting: Server, tmp_path: Path) -> None:
    home = detecting.home
    few = refused(home, "--budget", "0.001")
    assert "got 500 anomaly-free scores for a budget of 0.001, wanted at least 999" in few
    assert "nothing would change" in refused(home, "--budget", "0.02")
    assert "got --events-per-hour as well" in refused(
        home, "--budget", "0.1", "--events-per-hour", "1", "--rows-per-hour", "9"
    )
    dead = normal_windows(200, 3)
    dead[..., 1] = 20.5
    np.save(tmp_path / "dead.npy", dead)
    said = refused(home, "--data", str(tmp_path / "dead.npy"))
    assert "sensors heat have one and the same value in all rows" in said
    changed(home, "--data", str(tmp_path / "dead.npy"), "--constant", "heat")
    gap = normal_windows(200, 3)
    gap[7, 2, 0] = np.nan
    np.save(tmp_path / "gap.npy", gap)
    assert "nan" in refused(home, "--data", str(tmp_path / "gap.npy"))
    np.save(tmp_path / "short.npy", normal_windows(200)[:, :4])
    assert "(200, 4, 2)" in refused(home, "--data", str(tmp_path / "short.npy"))
    (tmp_path / "words.csv").write_text("score\none\n")
    assert "cannot be read as scores" in refused(home, "--scores", str(tmp_path / "words.csv"))


def test_without_a_server_it_is_recorded_too(tmp_path: Path) -> None:
    from tests.small_detector import release_detector

    release_detector(tmp_path, "windows")
    changed(tmp_path, "--budget", "0.2")
    from service.audit.search import Query, statement
    from service.audit.store import RecordStore

    store = RecordStore(f"sqlite:///{next(tmp_path.glob('*.db'))}")
    (row,) = store.rows(statement(Query(kind="calibration"), 10))
    store.close()
    assert row.version == "2"


def test_the_help_teaches() -> None:
    told = glassline("models", "recalibrate", "--help", home=Path("/nowhere")).stdout
    said = " ".join(told.split())
    for words in ("without training it again", "at least 99 anomaly-free rows", "recalibrate pump"):
        assert words in said
