"""Fewer bits are released where they answer as well, and refused with figures where they do not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from models.mlp import MLP, Column, MLPConfig, Softmax, TableNetwork
from service.errors import ReleaseRefused
from service.manifest import Provenance, Tensor
from service.store import ModelStore
from training.candidate import Candidate, Held, probabilities, values
from training.card import card_of
from training.release import release

ROWS = 400


def rows(seed: int, count: int = ROWS) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def teacher() -> nn.Module:
    torch.manual_seed(0)
    return TableNetwork([Column(scale=0.5)] * 6, MLPConfig((64,), 3)).eval()


def candidate(**changes: Any) -> Candidate:
    """A network that is right about all rows: what is true is what it says, and it is sure."""
    network, drawn = teacher(), rows(1)
    with torch.inference_mode():
        said = network(torch.from_numpy(drawn)).softmax(dim=1)
    best = said.topk(2, dim=1).values
    sure = (best[:, 0] - best[:, 1] > 0.1).numpy()
    truth = said.argmax(dim=1).numpy()[sure]
    made = Provenance(
        script="", config={}, seed=0, git_revision="", trained_at="", seconds=0, data={},
        libraries={}, environment={"cpu": "some processor"},
    )  # fmt: skip
    asking = Candidate(
        name="small", family="mlp", task="classify", summary="A teacher.",
        network=Softmax(network),
        inputs=(Tensor(name="row", datatype="FP32", shape=(-1, 6)),),
        outputs=(probabilities(3),),
        rows={"row": drawn[sure]}, truth=truth, labels=("a", "b", "c"), provenance=made,
        precision="int8", calibration={"row": rows(2)},
    )  # fmt: skip
    return dataclasses.replace(asking, **changes)


def test_int8_is_released_with_what_it_costs_and_gains(tmp_path: Any) -> None:
    stored = release(candidate(), ModelStore(tmp_path))
    manifest = stored.manifest
    found = manifest.compression
    assert found is not None
    assert (manifest.precision, found.metric, found.fp32_score) == ("int8", "accuracy", 1.0)
    assert found.score == manifest.metrics["accuracy"] >= 0.995
    assert found.bytes == stored.graph().stat().st_size
    assert found.fp32_bytes != found.bytes
    assert found.rows_per_second > 0
    # The weights are INT8, and what is outside is as it was declared.
    graph = onnx.load(stored.graph()).graph
    stored_as = {one.data_type for one in graph.initializer if np.prod(one.dims) >= 64 * 6}
    assert stored_as == {onnx.TensorProto.INT8}
    assert manifest.parity.max_abs_difference > 1e-5  # measured, not assumed
    card = card_of(manifest, "A teacher.")
    assert f"{found.bytes} bytes beside {found.fp32_bytes}" in card
    assert "some processor" in card
    page = stored.asset("page")
    assert page is not None
    assert f"{found.bytes}, in FP32 {found.fp32_bytes}" in page.read_text()


def test_what_loses_more_than_half_a_point_is_refused_with_figures(tmp_path: Any) -> None:
    # Ranges from rows that are nothing like those to come: everything is cut off.
    wrong = {"row": rows(2) * 0.01}
    with pytest.raises(
        ReleaseRefused,
        match=r"in int8 its accuracy on the test rows is 0\.\d+, in FP32 1: worse by more than "
        r"0\.5 points.*bytes beside \d+, \d+ rows a second beside \d+",
    ):
        release(candidate(calibration=wrong), ModelStore(tmp_path))
    assert ModelStore(tmp_path).names() == []


def test_an_error_may_hardly_grow(tmp_path: Any) -> None:
    torch.manual_seed(0)
    network = MLP(6, MLPConfig((32,), 1)).eval()
    with torch.inference_mode():
        truth = network(torch.from_numpy(rows(1))).double().numpy()
    noise = np.random.default_rng(5).normal(0, 1.0, truth.shape)
    asking = candidate(
        network=network, task="regress", labels=(), outputs=(values(["wear"]),),
        rows={"row": rows(1)}, truth=truth + noise,
    )  # fmt: skip
    found = release(asking, ModelStore(tmp_path)).manifest.compression
    assert found is not None
    assert found.metric == "rmse"
    assert found.score <= 1.01 * found.fp32_score
    # The same quantisation, where the network itself makes no error at all.
    with pytest.raises(
        ReleaseRefused, match="its rmse on the test rows is .*worse by more than 1 %"
    ):
        release(dataclasses.replace(asking, truth=truth), ModelStore(tmp_path))


def test_without_rows_to_take_ranges_from_int8_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ReleaseRefused, match="gives no training rows"):
        release(candidate(calibration=None), ModelStore(tmp_path))
    held = Held({"row": rows(3)}, np.zeros(ROWS, np.int64) - 1)
    stored = release(candidate(calibration=None, validation=held), ModelStore(tmp_path))
    assert stored.manifest.precision == "int8"


def test_a_graph_that_has_nothing_for_int8_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ReleaseRefused, match="nothing in its graph can be computed in INT8"):
        release(candidate(network=nn.Softmax(dim=1), outputs=(probabilities(6),),
                          labels=tuple("abcdef")), ModelStore(tmp_path))  # fmt: skip


def test_inputs_of_any_unit_are_scaled_before_fp16_begins(tmp_path: Any) -> None:
    # Beyond FP16's largest number, and apart by less than it can tell.
    columns = [Column(shift=5e6, scale=10.0)] * 6
    torch.manual_seed(0)
    network = Softmax(TableNetwork(columns, MLPConfig((64,), 3)))
    far = (5e6 + 10 * rows(1)).astype(np.float32)
    asking = candidate(network=network, precision="fp16", rows={"row": far},
                       truth=np.zeros(ROWS, np.int64))  # fmt: skip
    manifest = release(asking, ModelStore(tmp_path)).manifest
    assert manifest.precision == "fp16"
    assert manifest.parity.max_abs_difference < 5e-3
    assert manifest.compression is not None
