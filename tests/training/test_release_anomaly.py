"""A detector is released with a budget that was calibrated through its own graph, or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor as Torch
from torch import nn

from service.anomaly.conformal import realised, threshold
from service.anomaly.reference import from_npy
from service.errors import ReleaseRefused
from service.inference.session import Session
from service.manifest import EventBudget, ExplainerDefaults, Provenance, RateBudget, Tensor
from service.store import ModelStore, StoredModel
from training import parity
from training.anomaly_free import calibrate
from training.candidate import AnomalyFree, Candidate, detection_outputs
from training.export import export
from training.release import release

SENSORS = ("pressure", "heat", "flow")
STEPS = 12


class Detector(nn.Module):
    """Rebuilds a window (n, STEPS, 3) through four numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.encode = nn.Linear(STEPS * 3, 4)
        self.decode = nn.Linear(4, STEPS * 3)

    def forward(self, window: Torch) -> tuple[Torch, ...]:
        latent = torch.tanh(self.encode(window.flatten(1)))
        rebuilt = self.decode(latent).unflatten(1, (STEPS, 3))
        error = (window - rebuilt) ** 2
        return error.mean(dim=(1, 2)).unsqueeze(1), error, rebuilt, latent


class Lenient(nn.Module):
    """A detector whose graph scores one row in fifty lower by what nobody would see."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.detector = Detector()
        self.limit = limit

    def forward(self, window: Torch) -> tuple[Torch, ...]:
        score, *rest = self.detector(window)
        lower = torch.where((score - self.limit).abs() < 5e-6, score - 8e-6, score)
        return (lower if torch.compiler.is_exporting() else score, *rest)


def windows(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, STEPS, 3)).astype(np.float32)


def candidate(network: nn.Module | None = None, **changes: Any) -> Candidate:
    tensor = Tensor(name="window", datatype="FP32", shape=(-1, STEPS, 3), features=SENSORS)
    normal, anomalous = windows(120, 5), windows(40, 6) * 1.6
    asking = Candidate(
        name="pump",
        family="autoencoder",
        task="anomaly",
        summary="A detector that has learned nothing.",
        network=network or Detector(),
        inputs=(tensor,),
        outputs=detection_outputs(
            (STEPS, 3), tensor.model_copy(update={"name": "reconstruction"}), 4, ()
        ),
        rows={"window": np.concatenate([normal, anomalous])},
        truth=np.repeat([0, 1, -1], [120, 39, 1]),
        explainer=ExplainerDefaults(modality="sequence"),
        evidence={"error": "reconstruction-error"},
        measured=("auroc", "test_rows"),
        sanity=(0, 0),
        mistakes=2,
        anomaly_free=AnomalyFree({"window": windows(400, 7)}, RateBudget(rate=0.05)),
        provenance=Provenance(
            script="tests/training/test_release_anomaly.py",
            config={},
            seed=1,
            git_revision="unknown",
            trained_at="2026-01-01T00:00:00+00:00",
            seconds=0,
            data={"name": "drawn"},
            libraries={},
            environment={},
        ),
    )
    return dataclasses.replace(asking, **changes)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return release(candidate(), ModelStore(tmp_path_factory.mktemp("home")))


def test_the_calibration_is_of_the_graph_s_scores_on_rows_of_its_own(stored: StoredModel) -> None:
    calibration = stored.manifest.calibration
    assert calibration is not None
    path = stored.asset("calibration")
    assert path is not None
    scores = from_npy(path.read_bytes())
    said = Session(stored).run({"window": windows(400, 7)})["score"].reshape(-1)
    assert scores == pytest.approx(np.sort(said).astype(np.float64), rel=1e-6)
    assert calibration.n == 400
    assert calibration.threshold == threshold(scores, 0.05)
    assert calibration.realised == realised(400, 0.05)


def test_figures_are_of_the_rows_whose_truth_is_known(stored: StoredModel) -> None:
    metrics, calibration = stored.manifest.metrics, stored.manifest.calibration
    assert calibration is not None
    rows = candidate().blocks[0]["window"]
    scores = Session(stored).run({"window": rows})["score"].reshape(-1)
    normal, anomalous = scores[:120], scores[120:159]
    assert metrics["test_rows"] == 159
    assert metrics["false_alarm_rate"] == (normal > calibration.threshold).mean()
    assert metrics["miss_rate"] == pytest.approx((anomalous <= calibration.threshold).mean())
    above = (anomalous[:, np.newaxis] > normal).mean()
    assert metrics["auroc"] == pytest.approx(above, abs=1e-9)


def test_the_page_and_the_card_say_how_often_it_is_wrong(stored: StoredModel) -> None:
    path, manifest = stored.asset("page"), stored.manifest
    assert path is not None
    page = path.read_text()
    assert f"<b>{manifest.metrics['auroc']:.3f}</b>" in page
    assert "asked for 5.0 %" in page
    assert "from 400 anomaly-free rows" in page
    assert "Kolmogorov-Smirnov" in page
    assert "verdicts flipped" in page
    assert page.count("<figcaption>") == 2
    assert "5 % of the anomaly-free rows allowed" in manifest.card
    assert "nine calibrations of ten" in manifest.card


def test_too_few_rows_for_the_budget_are_refused_with_the_number_that_is_needed(
    tmp_path: Path,
) -> None:
    few = AnomalyFree({"window": windows(50, 7)}, EventBudget(events_per_hour=1, rows_per_hour=60))
    store = ModelStore(tmp_path)
    with pytest.raises(ReleaseRefused, match=r"got 50 .* wanted at least 59 .* Nothing was stored"):
        release(candidate(anomaly_free=few), store)
    assert store.list() == []


def test_a_verdict_that_flips_by_a_difference_nobody_would_see_is_refused(tmp_path: Path) -> None:
    graph = tmp_path / "graph.onnx"
    asking = candidate()
    with torch.inference_mode():
        scores = Detector()(torch.from_numpy(asking.blocks[0]["window"]))[0].numpy().reshape(-1)
    limit = float(np.nextafter(scores[3], np.float32(0)))
    flipping = candidate(Lenient(limit))
    export(flipping.network, flipping.blocks[0], [o.name for o in flipping.outputs], graph)
    assert parity.check(flipping, graph).label_flips == 0
    with pytest.raises(ReleaseRefused, match="1 verdicts flip .row 3 'anomaly' -> 'normal'"):
        parity.check(flipping, graph, limit)
    _, found = calibrate(flipping, graph)
    assert found is not None
    assert parity.check(flipping, graph, found.threshold).label_flips == 0


def test_anomaly_free_rows_belong_to_detectors_alone() -> None:
    with pytest.raises(ReleaseRefused, match="belong to the task 'anomaly' alone"):
        candidate(anomaly_free=None)
