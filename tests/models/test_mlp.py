"""Perceptrons: gradients as worked by hand, rows read as the columns say."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from models.blocks import ACTIVATIONS
from models.mlp import (
    MISSING,
    MLP,
    Column,
    Kinds,
    MLPConfig,
    Row,
    Sigmoid,
    Softmax,
    TableNetwork,
    Values,
)
from training.export import export

Array = NDArray[np.float64]

#: Each activation and its derivative, written down again.
BY_HAND: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "sigmoid": (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "leaky-relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
}


def backward_by_hand(
    weights: list[Array], biases: list[Array], x: Array, classes: NDArray[np.int64], name: str
) -> tuple[float, list[Array], list[Array]]:
    """Forward and back through any layers: the mean cross-entropy of a softmax, its gradients.

    z1 = x W1' + b1, a1 = f(z1), ..., p = softmax(z3); dL/dz3 = (p - y) / n, and from there
    dL/dW = (dL/dz)' a, dL/db = sum of dL/dz, dL/dz of the layer before = (dL/dz W) * f'(z).
    """
    f, slope = BY_HAND[name]
    units, sums = [x], []
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        sums.append(units[-1] @ w.T + b)
        units.append(f(sums[-1]) if layer < len(weights) - 1 else sums[-1])
    shifted = np.exp(sums[-1] - sums[-1].max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    n = len(x)
    loss = -np.log(p[np.arange(n), classes]).mean()
    delta = (p - np.eye(p.shape[1])[classes]) / n
    by_weights, by_biases = [], []
    for layer in reversed(range(len(weights))):
        by_weights.insert(0, delta.T @ units[layer])
        by_biases.insert(0, delta.sum(axis=0))
        if layer:
            delta = (delta @ weights[layer]) * slope(sums[layer - 1])
    return float(loss), by_weights, by_biases


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_gradients_of_the_3_4_4_3_network_equal_a_backward_pass_by_hand(activation: str) -> None:
    torch.manual_seed(0)
    network = MLP(3, MLPConfig(hidden=(4, 4), outputs=3, activation=activation)).double()
    layers = [one for one in network.layers if isinstance(one, torch.nn.Linear)]
    assert [tuple(one.weight.shape) for one in layers] == [(4, 3), (4, 4), (3, 4)]
    for one in layers:
        torch.nn.init.normal_(one.bias, std=0.5)
    x = torch.randn(20, 3, dtype=torch.float64)
    classes = torch.arange(20) % 3
    loss = torch.nn.functional.cross_entropy(network(x), classes)
    loss.backward()
    wanted, by_weights, by_biases = backward_by_hand(
        [one.weight.detach().numpy() for one in layers],
        [one.bias.detach().numpy() for one in layers],
        x.numpy(),
        classes.numpy(),
        activation,
    )
    assert abs(loss.item() - wanted) < 1e-10
    for one, by_weight, by_bias in zip(layers, by_weights, by_biases, strict=True):
        assert one.weight.grad is not None
        assert one.bias.grad is not None
        assert np.abs(one.weight.grad.numpy() - by_weight).max() < 1e-10
        assert np.abs(one.bias.grad.numpy() - by_bias).max() < 1e-10


COLUMNS = (
    Column(fill=5.0, shift=2.0, scale=4.0, gaps=True),
    Column(kinds=3, gap=2),
    Column(fill=-1.0, shift=0.0, scale=0.5),
)


@pytest.mark.parametrize(
    ("row", "units"),  # two numbers scaled, three kinds, whether the first number is a gap
    [
        ([6.0, 0.0, 1.0], [1.0, 2.0, 1, 0, 0, 0]),
        ([2.0, 1.0, 0.0], [0.0, 0.0, 0, 1, 0, 0]),
        ([math.nan, math.nan, math.nan], [0.75, -2.0, 0, 0, 1, 1]),
        ([MISSING, MISSING, -3e38], [0.75, -2.0, 0, 0, 1, 1]),
        ([6.0, 2.0, 1.0], [1.0, 2.0, 0, 0, 1, 0]),
    ],
)
def test_rows_are_scaled_spread_and_filled(row: list[float], units: list[float]) -> None:
    reader = Row(COLUMNS)
    assert reader.width == 6
    torch.testing.assert_close(reader(torch.tensor([row])), torch.tensor([units]))


def test_a_gap_that_is_no_kind_is_none_of_them() -> None:
    assert Kinds(3)(torch.tensor([math.nan, 1.0])).tolist() == [[0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("columns", [COLUMNS[:1], COLUMNS[1:2], COLUMNS[2:], COLUMNS])
def test_any_columns_are_exported_and_answer_the_same(
    columns: tuple[Column, ...], tmp_path: Path
) -> None:
    network = Softmax(TableNetwork(columns, MLPConfig((4,), 3)))
    rows = np.array([[6, 0, 1], [np.nan] * 3, [2, 1, MISSING]], np.float32)[:, : len(columns)]
    if len(columns) == 1 and columns[0].kinds:
        rows[0, 0] = 1
        rows[2, 0] = 0
    export(network, {"row": rows[:2]}, ["probabilities"], tmp_path / "g.onnx")
    session = ort.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"row": rows})
    with torch.inference_mode():
        wanted = network.eval()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("code", [3.0, -1.0, 0.5, 1e9])
def test_a_kind_that_nobody_has_seen_is_refused_by_network_and_graph(
    code: float, tmp_path: Path
) -> None:
    network = Softmax(TableNetwork(COLUMNS[1:2], MLPConfig((4,), 2)))
    good, bad = np.zeros((2, 1), np.float32), np.full((2, 1), code, np.float32)
    export(network, {"row": good}, ["probabilities"], tmp_path / "g.onnx")
    session = ort.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    session.run(None, {"row": good})
    with pytest.raises(IndexError):
        network(torch.from_numpy(bad))
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"row": bad})


def test_a_sigmoid_is_served_as_probabilities_of_both_classes() -> None:
    class Logit(torch.nn.Module):
        def forward(self, row: torch.Tensor) -> torch.Tensor:
            return row

    got = Sigmoid(Logit())(torch.tensor([[0.0], [math.log(3)], [40.0]]))
    assert got[:2].tolist() == [[0.5, 0.5], pytest.approx([0.25, 0.75])]
    assert float(got[2, 0]) == pytest.approx(math.exp(-40), rel=1e-5)  # not 0


def test_values_come_back_in_their_unit() -> None:
    network = Values(torch.nn.Identity(), torch.tensor([100.0]), torch.tensor([20.0]))
    assert network(torch.tensor([[0.5]])).item() == 110


def test_hidden_layers_have_dropout_and_the_last_one_nothing() -> None:
    named = [type(one).__name__ for one in MLP(5, MLPConfig((8, 3), 2, dropout=0.5)).layers]
    assert named == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(one).__name__ for one in MLP(5, MLPConfig((), 2)).layers] == ["Linear"]
