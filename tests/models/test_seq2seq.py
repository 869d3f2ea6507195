"""Encoder, decoder and attention: worked against torch's own cells, and blind to padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.attention import Bahdanau, Luong
from models.seq2seq import (
    BEGIN,
    END,
    PAD,
    EncoderGraph,
    GRUCell,
    LSTMCell,
    Seq2Seq,
    Seq2SeqConfig,
    StepGraph,
)

KINDS = [(cell, attention) for cell in ("lstm", "gru") for attention in ("bahdanau", "luong")]


def network(cell: str = "gru", attention: str = "luong", layers: int = 1, **more: Any) -> Seq2Seq:
    torch.manual_seed(0)
    sizes = {"units": 6, "embedding": 5, "layers": layers, **more}
    config = Seq2SeqConfig(11, cell, attention, **sizes)  # type: ignore[arg-type]
    return Seq2Seq(config).eval()


def test_the_lstm_cell_is_torchs() -> None:
    ours, theirs = LSTMCell(5, 4), nn.LSTMCell(5, 4)
    # Ours has its gates in the order i, f, o, g; torch in the order i, f, g, o.
    order = torch.tensor([*range(8), *range(12, 16), *range(8, 12)])
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.gates.weight[order][:, :5])
        theirs.weight_hh.copy_(ours.gates.weight[order][:, 5:])
        theirs.bias_ih.copy_(ours.gates.bias[order])
        theirs.bias_hh.zero_()
    x, h, c = torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(ours(x, torch.cat([h, c], 1)), torch.cat(theirs(x, (h, c)), 1))
    assert (ours.gates.bias[4:8] == 1).all(), "the gate that forgets is open from the start"


def test_the_gru_cell_is_torchs() -> None:
    ours, theirs = GRUCell(5, 4), nn.GRUCell(5, 4)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.of_input.weight)
        theirs.weight_hh.copy_(ours.of_state.weight)
        theirs.bias_ih.copy_(ours.of_input.bias)
        theirs.bias_hh.copy_(ours.of_state.bias)
    x, h = torch.randn(3, 5), torch.randn(3, 4)
    torch.testing.assert_close(ours(x, h), theirs(x, h))


def test_attention_is_what_the_papers_say() -> None:
    query, memory = torch.randn(1, 4), torch.randn(1, 3, 8)
    mask = torch.tensor([[True, True, False]])
    additive, product = Bahdanau(4), Luong(4)
    energies = [
        additive.energy.weight
        @ torch.tanh(additive.query.weight @ query[0] + additive.keys(memory)[0, at])
        for at in range(2)
    ]
    weights = additive(query, additive.keys(memory), mask)[0]
    torch.testing.assert_close(weights[:2], torch.softmax(torch.cat(energies), 0))
    energies = [(query[0] @ product.keys.weight @ memory[0, at])[None] for at in range(2)]
    weights = product(query, product.keys(memory), mask)[0]
    torch.testing.assert_close(weights[:2], torch.softmax(torch.cat(energies), 0))
    assert weights[2] == 0


@pytest.mark.parametrize(("cell", "attention"), KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), more=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_padding_never_changes_an_answer(
    cell: str, attention: str, layers: int, lengths: list[int], more: int
) -> None:
    """Neither that of the encoder nor that of a step, whatever else is in the batch."""
    module = network(cell, attention, layers)
    random = torch.Generator().manual_seed(sum(lengths) + more)
    rows = [torch.randint(4, 11, (n,), generator=random) for n in lengths]
    padded = torch.full((len(rows), max(lengths) + more), PAD)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    read, step = EncoderGraph(module), StepGraph(module)
    with torch.inference_mode():
        length = torch.tensor(lengths)
        memory, keys, state = read(padded, length)
        token = torch.full((len(rows),), BEGIN)
        together = step(token, state, memory, keys, length)
        for at, row in enumerate(rows):
            one = read(row[None], torch.tensor([len(row)]))
            torch.testing.assert_close(memory[at, : len(row)], one[0][0])
            alone = step(token[:1], one[2], one[0], one[1], torch.tensor([len(row)]))
            torch.testing.assert_close(together[0][at], alone[0][0])
            torch.testing.assert_close(together[1][at], alone[1][0])
            torch.testing.assert_close(together[2][at, : len(row)], alone[2][0])
            assert (together[2][at, len(row) :] == 0).all()
        torch.testing.assert_close(together[2].sum(1), torch.ones(len(rows)))
        torch.testing.assert_close(together[0].exp().sum(1), torch.ones(len(rows)))


@pytest.mark.parametrize(("cell", "attention"), KINDS)
def test_training_and_stepping_are_the_same_network(cell: str, attention: str) -> None:
    """Logits with the right tokens given are what the steps come to, one by one."""
    module = network(cell, attention, layers=2)
    source = torch.tensor([[5, 6, 7, END], [8, END, PAD, PAD]])
    target = torch.tensor([[BEGIN, 4, 9], [BEGIN, 10, 5]])
    with torch.inference_mode():
        whole = torch.log_softmax(module(source, target), dim=2)
        length = torch.tensor([4, 2])
        memory, keys, state = EncoderGraph(module)(source, length)
        assert state.shape[1] == module.state_width
        for at in range(3):
            step = StepGraph(module)(target[:, at], state, memory, keys, length)
            torch.testing.assert_close(whole[:, at], step[0])
            state = step[1]


def test_sampled_tokens_are_the_networks_own() -> None:
    module = network()
    source, target = torch.tensor([[5, 6, END]]), torch.tensor([[BEGIN, 4, 9, 7]])
    with torch.no_grad():
        own = [BEGIN]
        for _ in range(3):
            own.append(int(module(source, torch.tensor([own]))[0, -1].argmax()))
        always = module(source, target, sampled=1.0)
        torch.testing.assert_close(always, module(source, torch.tensor([own])))
        torch.testing.assert_close(module(source, target, sampled=0.0), module(source, target))


@pytest.mark.parametrize(("cell", "attention"), KINDS)
def test_every_weight_learns(cell: str, attention: str) -> None:
    module = network(cell, attention, layers=2, dropout=0.1).train()
    logits = module(torch.tensor([[5, 6, END]]), torch.tensor([[BEGIN, 4, 9]]))
    logits.logsumexp(2).sum().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
