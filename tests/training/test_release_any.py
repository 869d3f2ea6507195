"""Any inputs and outputs are released: windows of any length, regression, several outputs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor as Torch
from torch import nn

from service.errors import ReleaseRefused
from service.explain.background import TableBackground
from service.inference.session import Session
from service.manifest import ExplainerDefaults, Provenance, Tensor
from service.store import ModelStore, StoredModel
from training import parity
from training.candidate import Candidate, values
from training.export import export
from training.release import release

SENSORS = ("pressure", "heat")


class Reader(nn.Module):
    """Reads a window (n, T, 2); gives a value (n, 1) and what it looked at (n, T)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.steps = nn.LSTM(2, 8, batch_first=True)
        self.score = nn.Linear(8, 1)

    def forward(self, window: Torch) -> tuple[Torch, Torch]:
        states, _ = self.steps(window)
        attention = torch.softmax(self.score(states).squeeze(-1), dim=-1)
        return 100 * (attention.unsqueeze(-1) * states).sum(dim=1)[:, :1], attention


class OffInSecond(nn.Module):
    """A network whose evidence, not its answer, is lost in the export."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, window: Torch) -> tuple[Torch, Torch]:
        value, attention = self.reader(window)
        return value, attention + (0.01 if torch.onnx.is_in_onnx_export() else 0)


def windows(lengths: tuple[int, ...] = (4, 9, 30)) -> list[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(5)
    return [{"window": random.normal(size=(7, t, 2)).astype(np.float32)} for t in lengths]


def candidate(network: nn.Module | None = None, **changes: Any) -> Candidate:
    rows = windows()
    with torch.inference_mode():
        said = [Reader()(torch.from_numpy(block["window"]))[0].numpy() for block in rows]
    truth = np.concatenate(said).astype(np.float64) + 0.5
    truth[4] = np.nan
    background = TableBackground.fit(rows[0]["window"].reshape(-1, 2), names=SENSORS)
    asking = Candidate(
        name="wear",
        family="recurrent",
        task="regress",
        summary="A network that has learned nothing.",
        network=network or Reader(),
        inputs=(Tensor(name="window", datatype="FP32", shape=(-1, -1, 2), features=SENSORS),),
        outputs=(
            values(["wear"], unit="um"),
            Tensor(name="attention", datatype="FP32", shape=(-1, -1)),
        ),
        rows=rows,
        truth=truth,
        explainer=ExplainerDefaults(modality="sequence"),
        assets={
            "background": ("background.json", json.dumps(background.to_json()).encode()),
            "example": ("example.csv", b"1,2\n3,4\n"),
        },
        free={"window": {1: "time"}},
        exporter="torchscript",
        evidence={"attention": "attention"},
        figures=lambda answers, true: {"worst": float(np.abs(answers["value"] - true).max())},
        provenance=Provenance(
            script="tests",
            config={},
            seed=1,
            git_revision="unknown",
            trained_at="2026-01-01T00:00:00+00:00",
            seconds=0,
            data={},
            libraries={},
            environment={},
        ),
    )
    return dataclasses.replace(asking, **changes)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return release(candidate(), ModelStore(tmp_path_factory.mktemp("home")))


def test_regression_is_scored_over_the_rows_whose_truth_is_known(stored: StoredModel) -> None:
    found = stored.manifest.metrics
    assert found["test_rows"] == 20
    # Every truth is half a unit above what the network says.
    assert found["mae"] == pytest.approx(0.5, rel=1e-4)
    assert found["rmse"] == pytest.approx(0.5, rel=1e-4)
    assert found["worst"] == pytest.approx(0.5, rel=1e-3)
    rows = windows()
    with torch.inference_mode():
        said = np.concatenate([Reader()(torch.from_numpy(b["window"]))[0] for b in rows])
    kept = np.delete(said.astype(np.float64), 4, axis=0)
    assert found["r2"] == pytest.approx(1 - 0.25 / kept.var(), rel=1e-4)


def test_the_graph_takes_windows_of_lengths_that_it_never_saw(stored: StoredModel) -> None:
    (window,) = windows((57,))
    got = Session(stored).run(window)
    with torch.inference_mode():
        wanted = Reader()(torch.from_numpy(window["window"]))
    np.testing.assert_allclose(got["value"], wanted[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(got["attention"], wanted[1].numpy(), atol=1e-6)


def test_parity_is_in_the_unit_of_the_values(stored: StoredModel) -> None:
    found = stored.manifest.parity
    assert (found.rows, found.label_flips) == (21, 0)
    with torch.inference_mode():
        said = [Reader()(torch.from_numpy(b["window"]))[0].numpy() for b in windows()]
    assert found.tolerance == pytest.approx(1e-5 * max(np.abs(part).max() for part in said))
    assert found.max_abs_difference <= found.tolerance


def test_assets_are_stored_by_their_roles(stored: StoredModel) -> None:
    path = stored.asset("background")
    assert path is not None
    assert path.name == "background.json"
    assert TableBackground.from_json(json.loads(path.read_bytes())).names == SENSORS
    assert (stored.folder / "example.csv").read_bytes() == b"1,2\n3,4\n"


def test_the_card_says_what_goes_in_and_what_comes_out(stored: StoredModel) -> None:
    card = stored.manifest.card
    assert "- `window`, FP32, any x any x 2 (pressure, heat); scaling is inside" in card
    assert "- answer: `value`, FP32, any x 1, in um (wear)" in card
    assert "- besides: `attention`, FP32, any x any, evidence (attention)" in card
    assert "labels flipped" not in card


def test_evidence_that_differs_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match=r"21 of 21 .* output 'attention' .* 0\.01\)"):
        release(candidate(OffInSecond()), ModelStore(tmp_path))


def test_a_frozen_length_is_refused(tmp_path: Path) -> None:
    asking, graph = candidate(), tmp_path / "frozen.onnx"
    export(asking.network, windows((9,))[0], ["value", "attention"], graph, exporter="torchscript")
    with pytest.raises(ReleaseRefused, match="exactly 9 time, not any number, in input 'window'"):
        parity.check(asking, graph)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"free": {}}, r"'window' has free axes \[1\] besides axis 0, but `free` names {}"),
        ({"rows": windows((9,)) * 3}, "all rows have the same extent there"),
        ({"truth": np.zeros((5, 1))}, "truth of 5 rows, wanted of 21"),
        ({"rows": []}, "got no rows"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_the_export(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReleaseRefused, match=message):
        candidate(**changes)


class Sum(nn.Module):
    """Adds two tables: several inputs, by the newer exporter."""

    def forward(self, left: Torch, right: Torch) -> Torch:
        return torch.softmax(left + right, dim=-1)


def test_a_classifier_of_two_inputs(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = {name: random.normal(size=(40, 3)).astype(np.float32) for name in ("left", "right")}
    asking = candidate(
        task="classify",
        network=Sum(),
        inputs=tuple(Tensor(name=name, datatype="FP32", shape=(-1, 3)) for name in rows),
        outputs=(Tensor(name="probabilities", datatype="FP32", shape=(-1, 3)),),
        labels=("a", "b", "c"),
        rows=rows,
        truth=(rows["left"] + rows["right"]).argmax(axis=1),
        free={},
        exporter="dynamo",
        evidence={},
        figures=None,
    )
    stored = release(asking, ModelStore(tmp_path))
    assert stored.manifest.metrics == {"accuracy": 1.0, "test_rows": 40.0}
    session = ort.InferenceSession(str(stored.graph()), providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_inputs()] == ["left", "right"]
