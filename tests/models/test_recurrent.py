"""Recurrent networks: padding changes nothing, gradients end where they are told to, any length."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from models.recurrent import (
    InUnits,
    Pool,
    Probabilities,
    RecurrentConfig,
    SequenceNetwork,
    States,
    between,
)
from models.recurrent_text import TextNetwork, Words, pair_numbers
from training.export import export

CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean+max", "max", "attention", "attention+max")
CHANNELS = 3
Ask = Callable[[NDArray[Any], NDArray[np.int64]], NDArray[np.float32]]


def network(**shape: Any) -> SequenceNetwork:
    torch.manual_seed(5)
    config = RecurrentConfig(**{"units": 6, "outputs": 2, **shape})
    return SequenceNetwork([0.5, 0, -1], [2, 1, 3], config).eval()


def graph_of(net: nn.Module, folder: Path, rows: dict[str, NDArray[Any]]) -> Ask:
    name = next(iter(rows))
    path = folder / "net.onnx"
    outputs = (
        ["value", "lower", "upper"] if getattr(net, "margins", None) is not None else ["value"]
    )
    export(net, rows, outputs, path, free={name: {1: "steps"}}, exporter="torchscript")
    session = ort.InferenceSession(path)
    return lambda values, length: session.run(["value"], {name: values, "length": length})[0]


def windows(rows: int, steps: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, steps, CHANNELS)).astype(np.float32)


TRACED = {"window": windows(2, 4), "length": np.array([4, 4])}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Ask]:
    """Graphs of every cell, pooling and direction."""
    made = []
    for number, (cell, pooling, both) in enumerate(
        [*zip(CELLS * 2, POOLINGS + ("last",), itertools.cycle((True, False)), strict=False)]
    ):
        folder = tmp_path_factory.mktemp(f"graph{number}")
        net = network(cell=cell, pooling=pooling, bidirectional=both, layers=1 + number % 2)
        made.append(graph_of(Probabilities(net), folder, TRACED))
    return made


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    more=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    behind=st.sampled_from([0.0, 1e6, -1e6]),
    which=st.integers(0, 5),
)
def test_padding_never_changes_an_answer(
    asked: list[Ask], lengths: list[int], more: int, seed: int, behind: float, which: int
) -> None:
    """Through ONNX Runtime: alone, in a batch of several lengths, and behind any padding."""
    ask, steps = asked[which], max(lengths) + more
    batch = np.full((len(lengths), steps, CHANNELS), behind, np.float32)
    alone = []
    for row, length in enumerate(lengths):
        window = windows(1, length, seed + row)
        batch[row, :length] = window[0]
        alone.append(ask(window, np.array([length]))[0])
    together = ask(batch, np.array(lengths))
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


@pytest.mark.parametrize(("cell", "both"), [(c, b) for c in CELLS for b in (False, True)])
def test_the_graph_is_the_network_at_lengths_it_was_never_traced_with(
    cell: str, both: bool, tmp_path: Path
) -> None:
    net = network(cell=cell, bidirectional=both, layers=2, pooling="attention+max")
    ask = graph_of(net, tmp_path, TRACED)
    for rows, steps in ((1, 1), (3, 2), (5, 57), (17, 200)):
        batch = windows(rows, steps)
        length = np.random.default_rng(1).integers(1, steps + 1, rows)
        with torch.inference_mode():
            wanted = net(torch.from_numpy(batch), torch.from_numpy(length)).numpy()
        assert np.abs(ask(batch, length) - wanted).max() <= 1e-5


def test_an_lstm_is_the_equations_of_the_paper() -> None:
    net = States(CHANNELS, RecurrentConfig("lstm", units=4)).eval()
    batch = windows(1, 5)
    weights = {name: one.detach().numpy() for name, one in net.cells.named_parameters()}
    state = memory = np.zeros(4, np.float32)
    for step in batch[0]:
        gates = weights["weight_ih_l0"] @ step + weights["bias_ih_l0"]
        gates += weights["weight_hh_l0"] @ state + weights["bias_hh_l0"]
        enter, forget, new, leave = np.split(gates, 4)
        sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
        memory = sigmoid(forget) * memory + sigmoid(enter) * np.tanh(new)
        state = sigmoid(leave) * np.tanh(memory)
    with torch.inference_mode():
        states = net(torch.from_numpy(batch), torch.tensor([5]))
    np.testing.assert_allclose(states[0, -1].numpy(), state, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_truncation_keeps_the_states_and_ends_the_gradients(cell: str) -> None:
    torch.manual_seed(1)
    whole = States(CHANNELS, RecurrentConfig(cell, units=4, layers=2))  # type: ignore[arg-type]
    short = States(CHANNELS, RecurrentConfig(cell, units=4, layers=2, truncate=3))  # type: ignore[arg-type]
    short.load_state_dict(whole.state_dict())
    batch = torch.from_numpy(windows(4, 10)).requires_grad_()
    length = torch.tensor([10, 2, 7, 3])
    states = short(batch, length)
    torch.testing.assert_close(states, whole(batch, length))
    # The last state of the first sequence is of step 9, whose stretch begins at step 9.
    (gradient,) = torch.autograd.grad(states[0, 9].sum(), batch, retain_graph=True)
    assert gradient[0, 9].abs().sum() > 0
    assert gradient[0, :9].abs().sum() == 0
    (gradient,) = torch.autograd.grad(states[2, 5].sum(), batch)
    assert gradient[2, 3].abs().sum() > 0
    assert gradient[2, :3].abs().sum() == 0
    assert gradient[[0, 1, 3]].abs().sum() == 0


def test_the_answer_at_every_step_is_that_of_the_shorter_window() -> None:
    net = network(cell="gru")
    batch, length = torch.from_numpy(windows(2, 6)), torch.tensor([6, 4])
    with torch.inference_mode():
        every = net.at_every_step(batch, length)
        for step in range(1, 5):
            shorter = net(batch[:, :step], torch.tensor([step, step]))
            torch.testing.assert_close(every[:, step - 1], shorter)


def test_pooling_by_hand() -> None:
    states = torch.tensor([[[1.0, 8], [3, 2], [0, 0]], [[5, 1], [1, 1], [-9, 4]]])
    length = torch.tensor([2, 3])
    shape = RecurrentConfig(units=1, bidirectional=True, pooling="mean")
    torch.testing.assert_close(Pool(shape)(states, length), torch.tensor([[2.0, 5], [-1, 2]]))
    shape = RecurrentConfig(units=1, bidirectional=True, pooling="max")
    torch.testing.assert_close(Pool(shape)(states, length), torch.tensor([[3.0, 8], [5, 4]]))
    shape = RecurrentConfig(units=1, bidirectional=True, pooling="mean+max")
    both = torch.tensor([[2.0, 5, 3, 8], [-1, 2, 5, 4]])
    torch.testing.assert_close(Pool(shape)(states, length), both)
    # The way back ends at the first step.
    shape = RecurrentConfig(units=1, bidirectional=True, pooling="last")
    torch.testing.assert_close(Pool(shape)(states, length), torch.tensor([[3.0, 8], [-9, 1]]))


def test_an_interval_is_a_margin_held_within_the_bounds(tmp_path: Path) -> None:
    net = network(outputs=1)
    with torch.no_grad():
        net.answer[1].weight.zero_()
        net.answer[1].bias.fill_(0.9)
    one = torch.ones(1)
    knots, margins = torch.tensor([[0.0], [90], [130]]), torch.tensor([[5.0], [10], [50]])
    served = InUnits(net, 10 * one, 100 * one, (0.0, 105.0), (knots, margins)).eval()
    with torch.inference_mode():
        value, lower, upper = served(*(torch.from_numpy(v) for v in TRACED.values()))
    assert [value[0].item(), lower[0].item(), upper[0].item()] == pytest.approx([100, 80, 105])
    values = torch.linspace(-20, 150, 30).unsqueeze(1)
    by_numpy = np.interp(values[:, 0], knots[:, 0], margins[:, 0])
    np.testing.assert_allclose(between(values, knots, margins)[:, 0], by_numpy, atol=1e-4)
    ask = graph_of(served, tmp_path, TRACED)
    assert ask(windows(3, 9), np.array([9, 1, 4]))[:, 0] == pytest.approx([100, 100, 100])


def test_a_text_network_reads_words_pairs_and_nothing_behind_the_end(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = TextNetwork(Words(50, width=5, pairs=64), RecurrentConfig("gru", units=4, outputs=2))
    assert net.bag is not None
    nn.init.normal_(net.bag.alone.weight)
    nn.init.normal_(net.bag.together.weight)
    net.eval()
    tokens = np.array([[7, 9, 3, 0], [4, 2, 8, 5]])
    ask = graph_of(net, tmp_path, {"tokens": tokens, "length": np.array([4, 4])})
    got = ask(np.array([[7, 9, 3, 30, 31, 32]]), np.array([3]))
    np.testing.assert_allclose(got, ask(np.array([[7, 9, 3]]), np.array([3])), atol=1e-6)
    one = ask(np.array([[7]]), np.array([1]))  # a single word has no pair
    with torch.inference_mode():
        wanted = net(torch.tensor([[7]]), torch.tensor([1])).numpy()
    np.testing.assert_allclose(one, wanted, atol=1e-6)
    alone, pairs = net.bag.alone.weight, net.bag.together.weight
    by_hand = alone[[7, 9, 3]].sum(0) + pairs[pair_numbers(torch.tensor([[7, 9, 3]]), 64)[0]].sum(0)
    torch.testing.assert_close(net.bag(torch.tensor([[7, 9, 3, 6]]), torch.tensor([3]))[0], by_hand)
