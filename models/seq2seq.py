"""Encoder and decoder with attention: one sequence of tokens to another.

A recurrent encoder reads the source in both directions; a recurrent decoder writes the target
token by token and looks at the source at each step. Whatever is padded decides nothing: masks
keep attention off it, and the backward direction begins at a sequence's own last token.

n sequences, S source and T target positions, U units, E width of an embedding, V vocabulary.
Sources: Sutskever, Vinyals and Le 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.attention import Bahdanau, Luong

#: Numbers of the tokens that are no text; whoever makes a vocabulary keeps to them.
PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Seq2SeqConfig:
    """Sizes and kinds.

    Attributes:
        vocabulary: tokens of source and target together, V >= 4.
        cell, attention: kinds of recurrence and of attention.
        units: U, of each direction of the encoder and of each layer of the decoder.
        embedding: E. Source, target and output share one table of (V, E).
        layers: of the encoder, and as many of the decoder.
        dropout: share of embeddings, of encoder states and of readouts that is left out.
    """

    vocabulary: int
    cell: Literal["lstm", "gru"] = "gru"
    attention: Literal["bahdanau", "luong"] = "luong"
    units: int = 256
    embedding: int = 256
    layers: int = 1
    dropout: float = 0.0


class LSTMCell(nn.Module):
    """One step of a long short-term memory, written out: exporters know the whole layer only.

    Inputs x (n, inputs), state (n, 2U): h, then c. Output: the new state (n, 2U).
    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9(8); the forget gate: Gers,
    Schmidhuber and Cummins 2000, Neural Computation 12(10).
    """

    parts = 2

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + units, 4 * units)
        # A gate that is open from the start lets gradients through: Jozefowicz et al. 2015, ICML.
        nn.init.constant_(self.gates.bias[units : 2 * units], 1.0)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        h, c = state.chunk(2, dim=1)
        write, keep, show, new = self.gates(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        # The order on paper is i, f, o, g; the bias above belongs to the second quarter.
        c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(new)
        return torch.cat([torch.sigmoid(show) * torch.tanh(c), c], dim=1)


class GRUCell(nn.Module):
    """One step of a gated recurrent unit, written out.

    Inputs x (n, inputs), state (n, U). Output: the new state (n, U).
    Source: Cho et al. 2014, arXiv:1406.1078; the reset gate after the matrix, as in most
    libraries.
    """

    parts = 1

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(inputs, 3 * units)
        self.of_state = nn.Linear(units, 3 * units)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        reset_x, keep_x, new_x = self.of_input(x).chunk(3, dim=1)
        reset_h, keep_h, new_h = self.of_state(state).chunk(3, dim=1)
        keep = torch.sigmoid(keep_x + keep_h)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return new + keep * (state - new)


CELLS: dict[str, type[LSTMCell] | type[GRUCell]] = {"lstm": LSTMCell, "gru": GRUCell}
_LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Encoder(nn.Module):
    """Recurrent layers in both directions.

    Inputs x (n, S, E), length (n,). Output (n, S, 2U): forward, then backward; what stands at
    padded places is of no meaning.
    Source: Schuster and Paliwal 1997, IEEE Trans. Signal Processing 45(11).
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        layer, units = _LAYERS[config.cell], config.units
        widths = [config.embedding, *[2 * units] * (config.layers - 1)]
        self.onward = nn.ModuleList(layer(width, units, batch_first=True) for width in widths)
        self.back = nn.ModuleList(layer(width, units, batch_first=True) for width in widths)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        place = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        # Each sequence's own tokens in reverse; its padding stays behind them. Its own inverse.
        mirrored = length.unsqueeze(1) - 1 - place
        mirrored = torch.where(mirrored >= 0, mirrored, place).unsqueeze(2)
        for at, (onward, back) in enumerate(zip(self.onward, self.back, strict=True)):
            if at:
                x = self.dropout(x)
            ahead, _ = onward(x)
            behind, _ = back(x.gather(1, mirrored.expand(-1, -1, x.shape[2])))
            behind = behind.gather(1, mirrored.expand(-1, -1, behind.shape[2]))
            x = torch.cat([ahead, behind], dim=2)
        return x


class Seq2Seq(nn.Module):
    """The network as it is trained.

    Between two steps of the decoder stands one tensor `state` (n, D): each layer's state, and
    with Luong's attention the last readout, which is fed to the next step (input feeding).
    The output is the embedding table again (Press and Wolf 2017, arXiv:1608.05859).
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        units, width, cell = config.units, config.embedding, CELLS[config.cell]
        self.feeds = config.attention == "luong"
        self.embedding = nn.Embedding(config.vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = Encoder(config)
        self.attention = (Luong if self.feeds else Bahdanau)(units)
        first = width + (width if self.feeds else 2 * units)
        self.cells = nn.ModuleList(
            cell(first if at == 0 else units, units) for at in range(config.layers)
        )
        self.begin = nn.Linear(2 * units, config.layers * cell.parts * units)
        self.readout = nn.Linear(3 * units + (0 if self.feeds else width), width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.dropout = nn.Dropout(config.dropout)

    @property
    def state_width(self) -> int:
        """D, numbers that stand between two steps of a sequence."""
        states = self.config.layers * CELLS[self.config.cell].parts * self.config.units
        return states + (self.config.embedding if self.feeds else 0)

    def encode(self, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read the source.

        Args:
            tokens: (n, S) INT64, PAD behind each sequence.
            length: (n,) INT64, 1 to S.

        Returns:
            memory (n, S, 2U), keys (n, S, U) of the attention, state (n, D) before the first step.
        """
        mask = _mask(length, tokens.shape[1])
        memory = self.encoder(self.dropout(self.embedding(tokens)), length)
        memory = self.dropout(memory.masked_fill(~mask.unsqueeze(2), 0.0))
        mean = memory.sum(dim=1) / length.unsqueeze(1).to(memory.dtype)
        state = torch.tanh(self.begin(mean))
        if self.feeds:
            blank = torch.zeros_like(state[:, :1]).expand(-1, self.config.embedding)
            state = torch.cat([state, blank], dim=1)
        return memory, self.attention.keys(memory), state

    def step(
        self, x: Tensor, state: Tensor, memory: Tensor, keys: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Write one token more.

        Args:
            x: (n, E), embedding of the last one written; of BEGIN first.
            state: (n, D).
            memory, keys: see `encode`.
            mask: (n, S), true where there is text.

        Returns:
            readout (n, E), the new state (n, D), attention (n, S) that adds up to 1.
        """
        size = CELLS[self.config.cell].parts * self.config.units
        states = [state[:, at * size : (at + 1) * size] for at in range(len(self.cells))]
        x = self.dropout(x)
        if self.feeds:
            new = self._through(torch.cat([x, state[:, len(states) * size :]], dim=1), states)
            top = new[-1][:, : self.config.units]
            weights = self.attention(top, keys, mask)
            context = torch.matmul(weights.unsqueeze(1), memory).squeeze(1)
            readout = torch.tanh(self.readout(torch.cat([top, context], dim=1)))
            return readout, torch.cat([*new, readout], dim=1), weights
        weights = self.attention(states[-1][:, : self.config.units], keys, mask)
        context = torch.matmul(weights.unsqueeze(1), memory).squeeze(1)
        new = self._through(torch.cat([x, context], dim=1), states)
        top = new[-1][:, : self.config.units]
        readout = torch.tanh(self.readout(torch.cat([top, context, x], dim=1)))
        return readout, torch.cat(new, dim=1), weights

    def logits(self, readout: Tensor) -> Tensor:
        """Unnormalised log-probabilities (..., V) of a readout (..., E)."""
        return nn.functional.linear(self.dropout(readout), self.embedding.weight, self.bias)

    def forward(self, source: Tensor, target: Tensor, sampled: float = 0.0) -> Tensor:
        """Logits (n, T, V) of every next token, the right ones before it given.

        Args:
            source: (n, S), PAD behind each sequence.
            target: (n, T), each beginning with BEGIN.
            sampled: share of given tokens that the network's own best one stands in for,
                0 to 1 (scheduled sampling: Bengio et al. 2015, arXiv:1506.03099). What it has
                chosen itself, no gradient goes through.
        """
        length = (source != PAD).sum(dim=1)
        mask = _mask(length, source.shape[1])
        memory, keys, state = self.encode(source, length)
        # One look-up for all steps: each would bring a gradient as large as the table.
        given = self.embedding(target).unbind(dim=1)
        readouts: list[Tensor] = []
        for at, x in enumerate(given):
            if at and sampled > 0:
                with torch.no_grad():
                    own = self.embedding(self.logits(readouts[-1]).argmax(dim=1))
                x = torch.where(torch.rand(len(x), 1, device=x.device) < sampled, own, x)
            readout, state, _ = self.step(x, state, memory, keys, mask)
            readouts.append(readout)
        return self.logits(torch.stack(readouts, dim=1))

    def _through(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        new = []
        for at, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            new.append(cell(self.dropout(x) if at else x, state))
            x = new[-1][:, : self.config.units]
        return new


class EncoderGraph(nn.Module):
    """What is exported first: tokens (n, S), length (n,) to memory, keys, state."""

    def __init__(self, network: Seq2Seq) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network.encode(tokens, length)


class StepGraph(nn.Module):
    """What is exported second: a step that ends in log-probabilities (n, V), in nats.

    Inputs token (n,), state (n, D), memory (n, S, 2U), keys (n, S, U), length (n,).
    Outputs log_probabilities (n, V), next_state (n, D), attention (n, S).

    Up to the readout it computes in FP64: attention takes the exponential of energies that come
    to hundreds, and FP32 tells those no closer apart than 3e-5. Answers then hang on the order
    in which a runtime adds, which no other part of the network is so sensitive to.
    """

    def __init__(self, network: Seq2Seq) -> None:
        super().__init__()
        self.network = network
        self.precise = copy.deepcopy(network).double()

    def forward(
        self, token: Tensor, state: Tensor, memory: Tensor, keys: Tensor, length: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = _mask(length, memory.shape[1])
        x = self.network.embedding(token)
        readout, state, weights = self.precise.step(
            x.double(), state.double(), memory.double(), keys.double(), mask
        )
        logits = self.network.logits(readout.float())
        return torch.log_softmax(logits, dim=1), state.float(), weights.float()


def _mask(length: Tensor, positions: int) -> Tensor:
    """(n, positions), true where there is text."""
    return torch.arange(positions, device=length.device).unsqueeze(0) < length.unsqueeze(1)
