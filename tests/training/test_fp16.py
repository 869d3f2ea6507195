"""A model in half precision answers as the one it was made from, and says what it is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from models.cnn import LeNet5, Probabilities
from service.errors import ReleaseRefused
from service.inference.session import Session
from service.manifest import Manifest
from service.protocol.media import encode_png
from service.store import ModelStore
from tests.by_command import trained
from tests.running_server import a_server
from tests.training.test_release import DATA, candidate
from training import export, parity
from training.half import halve


@pytest.fixture(scope="module")
def half_home(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home's `lenet-digits`, and the same training released in FP16 as `lenet-half`."""
    folder = tmp_path_factory.mktemp("half")
    shutil.copytree(home / "bentoml" / "models", folder / "bentoml" / "models")
    trained("cnn", "--epochs", "6", "--name", "lenet-half", "--fp16", home=folder)
    return folder


def test_labels_agree_on_every_digit_of_the_test_part(half_home: Path) -> None:
    store = ModelStore(half_home)
    full, half = store.get("lenet-digits"), store.get("lenet-half")
    images = DATA.test.images
    (wanted,), (got,) = (Session(m).run({"image": images}).values() for m in (full, half))
    assert got.dtype == np.float32  # outside, tensors are as the manifest declares them
    assert len(images) == 360
    np.testing.assert_array_equal(got.argmax(axis=1), wanted.argmax(axis=1))
    found = half.manifest.parity
    assert (found.rows, found.label_flips, found.tolerance) == (360, 0, 5e-3)
    assert 1e-5 < found.max_abs_difference < 5e-3  # it was measured, and it is not FP32
    # A CPU keeps FP32 between steps; the gate also counts what a GPU would lose there.
    assert np.abs(got - wanted).max() < found.max_abs_difference


def test_the_graph_is_half_as_large_and_the_manifest_and_card_say_fp16(half_home: Path) -> None:
    store = ModelStore(half_home)
    full, half = store.get("lenet-digits"), store.get("lenet-half")
    assert half.graph().stat().st_size < 0.6 * full.graph().stat().st_size
    weights = onnx.load(half.graph()).graph.initializer
    halves = [w for w in weights if w.data_type == onnx.TensorProto.FLOAT16]
    assert sum(np.prod(w.dims) for w in halves) >= 61_706  # LeNet-5's parameters
    assert (full.manifest.precision, half.manifest.precision) == ("fp32", "fp16")
    assert "computes in fp16" in half.manifest.card
    assert half.manifest.provenance.config["precision"] == "fp16"
    assert half.manifest.inputs == full.manifest.inputs
    assert half.manifest.outputs == full.manifest.outputs


def test_manifests_older_than_the_field_keep_their_digest(half_home: Path) -> None:
    manifest = ModelStore(half_home).get("lenet-digits").manifest
    assert "precision" not in json.loads(manifest.canonical())
    half = ModelStore(half_home).get("lenet-half").manifest
    assert json.loads(half.canonical())["precision"] == "fp16"
    assert Manifest.model_validate_json(half.canonical()) == half


@pytest.mark.slow
def test_a_model_in_half_precision_is_served_as_any_other(half_home: Path, tmp_path: Path) -> None:
    with a_server(half_home, tmp_path / "log") as server, server.client() as client:
        for row in range(20):
            png = encode_png(DATA.test.images[row])
            answers = [
                client.post(
                    f"/v2/models/{name}/infer",
                    content=png,
                    headers={"content-type": "image/png"},
                ).json()["outputs"]
                for name in ("lenet-digits", "lenet-half")
            ]
            labels = [
                next(o["data"] for o in outputs if o["name"] == "label") for outputs in answers
            ]
            assert labels[0] == labels[1]


class Overflowing(nn.Module):
    """Right in FP32, and on a CPU in FP16 too; on a GPU its values would be beyond FP16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.network = Probabilities(LeNet5())

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.network(image)
        large = (1 + answer.amax(1, keepdim=True)) * 300 * 300
        answer = answer + large / 300 / 300 * 0.01
        return answer


def test_a_network_that_half_precision_breaks_is_refused(tmp_path: Path) -> None:
    asking, graph = candidate(Overflowing()), tmp_path / "graph.onnx"
    images = DATA.test.images[:2]
    export.export(asking.network, {"image": images}, ["probabilities"], graph)
    parity.check(asking, graph)
    halve(graph)
    with pytest.raises(ReleaseRefused, match=r"of 60 test rows differ by more than 0\.005"):
        parity.check(dataclasses.replace(asking, precision="fp16"), graph)
