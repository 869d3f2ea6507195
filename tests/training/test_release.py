"""A release is the trained network, or it is refused and nothing is stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from models.cnn import LeNet5, Probabilities
from service.errors import ReleaseRefused
from service.inference.session import Session
from service.manifest import ExplainerDefaults, Provenance
from service.protocol.media import decode_image, encode_png
from service.store import ModelStore, StoredModel
from training import parity
from training.candidate import Candidate, Held, pixels, probabilities
from training.data import digits
from training.release import release

DATA = digits.load()
ROWS = 60


class ChangedByExport(nn.Module):
    """A network whose exported graph is another: what the gate is there for."""

    def __init__(self, network: nn.Module, change: str) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, image: Tensor) -> Tensor:
        probabilities: Tensor = self.network(image)
        if not torch.compiler.is_exporting():
            return probabilities
        if self.change == "a little":
            return probabilities + 2e-5
        return probabilities.flip(1)


def lenet() -> Probabilities:
    torch.manual_seed(1)
    return Probabilities(LeNet5())


def candidate(network: nn.Module) -> Candidate:
    return Candidate(
        name="tiny",
        family="cnn",
        task="classify",
        summary="A network that has learned nothing.",
        network=network,
        inputs=(pixels(digits.MEDIA),),
        outputs=(probabilities(len(digits.LABELS)),),
        rows={"image": DATA.test.images[:ROWS]},
        truth=DATA.test.labels[:ROWS],
        labels=digits.LABELS,
        media=digits.MEDIA,
        explainer=ExplainerDefaults(modality="image"),
        assets={"example": ("example.png", encode_png(DATA.test.images[0]))},
        provenance=Provenance(
            script="tests/training/test_release.py",
            config={},
            seed=1,
            git_revision="unknown",
            trained_at="2026-01-01T00:00:00+00:00",
            seconds=0,
            data={"name": digits.NAME},
            libraries={},
            environment={},
        ),
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return release(candidate(lenet()), ModelStore(tmp_path_factory.mktemp("home")))


def test_metrics_are_those_of_the_network(stored: StoredModel) -> None:
    images = torch.from_numpy(DATA.test.images[:ROWS])
    with torch.inference_mode():
        best = lenet().eval()(images).argmax(dim=1).numpy()
    right = float((best == DATA.test.labels[:ROWS]).mean())
    assert stored.manifest.metrics == {"accuracy": pytest.approx(right), "test_rows": ROWS}


def test_parity_is_recorded_over_all_rows(stored: StoredModel) -> None:
    found = stored.manifest.parity
    assert (found.rows, found.label_flips, found.tolerance) == (ROWS, 0, 1e-5)
    assert 0 <= found.max_abs_difference <= 1e-5


def test_the_graph_is_one_file_with_a_free_batch(stored: StoredModel) -> None:
    assert sorted(p.name for p in stored.folder.iterdir() if p.suffix == ".onnx") == [
        "predict.onnx"
    ]
    graph = onnx.load(stored.graph())
    assert graph.opset_import[0].version == 20
    (tensor,) = graph.graph.input
    assert tensor.name == "image"
    assert tensor.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    session = ort.InferenceSession(str(stored.graph()), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["probabilities"]
    for rows in (1, 2, 5, 257):
        (answer,) = session.run(None, {"image": np.zeros((rows, 1, 32, 32), np.uint8)})
        assert answer.shape == (rows, 10)


def test_the_example_decodes_to_exactly_its_tensor(stored: StoredModel) -> None:
    body = (stored.folder / stored.manifest.assets["example"].file).read_bytes()
    assert np.array_equal(decode_image(body, digits.MEDIA, 32 * 32), DATA.test.images[:1])


def test_the_card_says_what_was_measured(stored: StoredModel) -> None:
    card, manifest = stored.manifest.card, stored.manifest
    assert card.startswith("# tiny, version 1\n")
    assert f"- accuracy: {manifest.metrics['accuracy']:.6g}" in card
    assert f"{manifest.parity.max_abs_difference:.3g}" in card
    assert digits.NAME in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("a little", rf"{ROWS} of {ROWS} test rows .*largest difference 2e-05\), and 0 labels"),
        ("classes reversed", rf"{ROWS} labels flip \(row 0 '\d' -> '\d'; row 1 "),
    ],
)
def test_a_graph_that_differs_is_refused_and_nothing_is_stored(
    change: str, message: str, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(ReleaseRefused, match=message):
        release(candidate(ChangedByExport(lenet(), change)), store)
    assert store.list() == []
    assert list((tmp_path / "bentoml" / "models").iterdir()) == []


def test_one_changed_row_is_named(stored: StoredModel) -> None:
    class OneRowOff(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            probabilities: Tensor = lenet().eval()(image)
            darkest = torch.from_numpy(DATA.test.images[17])
            probabilities[(image == darkest).all(dim=3).all(dim=2).all(dim=1), 0] += 0.001
            return probabilities

    with pytest.raises(ReleaseRefused, match=r"1 of 60 .* \(rows 17; largest difference 0\.001\)"):
        parity.check(candidate(OneRowOff()), stored.graph())


def test_not_a_number_is_a_difference(stored: StoredModel) -> None:
    class Nowhere(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.full((len(image), 10), torch.nan)

    with pytest.raises(ReleaseRefused, match="60 of 60 test rows"):
        parity.check(candidate(Nowhere()), stored.graph())


def test_a_graph_with_a_frozen_batch_is_refused(stored: StoredModel, tmp_path: Path) -> None:
    graph = onnx.load(stored.graph())
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(graph, tmp_path / "frozen.onnx")
    with pytest.raises(ReleaseRefused, match="exactly 2 rows, not any number"):
        parity.check(candidate(lenet()), tmp_path / "frozen.onnx")


def test_a_temperature_is_fitted_on_the_validation_part_and_put_inside(
    stored: StoredModel, tmp_path: Path
) -> None:
    held = Held({"image": DATA.validation.images}, DATA.validation.labels)
    asking = dataclasses.replace(candidate(lenet()), validation=held, sanity=(0, 0), mistakes=0)
    released = release(asking, ModelStore(tmp_path))
    temperature = released.manifest.metrics["temperature"]
    assert temperature != pytest.approx(1, abs=0.01)  # it has learned nothing
    assert 0 <= released.manifest.metrics["calibration_error"] <= 1
    images = {"image": DATA.test.images[:ROWS]}
    before, after = (
        Session(one).run(images)["probabilities"].astype(np.float64) for one in (stored, released)
    )
    raised = before ** (1 / temperature)
    np.testing.assert_allclose(after, raised / raised.sum(axis=1, keepdims=True), atol=1e-5)
    assert released.manifest.metrics["accuracy"] == stored.manifest.metrics["accuracy"]
