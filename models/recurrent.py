"""Recurrent networks on sequences of any length: windows of sensor values.

Every network takes its sequences padded to one extent and, beside them, how long each of them is;
what stands behind a sequence's end changes no answer. Scaling of the channels is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "attention", "mean+max", "attention+max"]
#: Below any activation: what is hidden from a maximum or a softmax.
_HIDDEN = -1e30
_CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True, slots=True)
class RecurrentConfig:
    """Shape of a recurrent network.

    Attributes:
        units: of each layer, in each direction.
        pooling: what is read of the states: those at the end, their mean, their largest, their
            mean weighted by attention, or two of these side by side.
        dropout: share of units left out between layers and before the answer.
        truncate: steps that gradients go back through, at most; 0 = to the beginning.
    """

    cell: Cell = "lstm"
    units: int = 64
    layers: int = 1
    bidirectional: bool = False
    pooling: Pooling = "last"
    outputs: int = 1
    dropout: float = 0.0
    truncate: int = 0

    @property
    def width(self) -> int:
        """Units of one state, both directions together."""
        return self.units * (2 if self.bidirectional else 1)


class Channels(nn.Module):
    """Scales each channel of a window: (value - shift) / scale.

    Input (n, T, C) FP32 in the channels' own units. Output (n, T, C).
    """

    def __init__(self, shift: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(list(shift), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(list(scale), dtype=torch.float32))
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, window: Tensor) -> Tensor:
        return (window - self.shift) / self.scale


class States(nn.Module):
    """Recurrent layers over sequences of several lengths, packed: no step behind an end is made.

    Input (n, T, inputs), and lengths (n,) from 1 to T. Output (n, T, width), 0 behind the ends.
    Source: Elman 1990 (rnn); Hochreiter and Schmidhuber 1997 with forget gates (lstm); Cho et al.
    2014, arXiv:1406.1078 (gru); truncation: Williams and Peng 1990.
    """

    def __init__(self, inputs: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.cells = _CELLS[config.cell](
            inputs,
            config.units,
            num_layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
            batch_first=True,
        )

    def forward(self, units: Tensor, length: Tensor) -> Tensor:
        if self.training and self.config.truncate:
            return self._truncated(units, length)
        state = units.new_zeros(self.cells.num_layers * self._directions, units.shape[0],
                                self.config.units)  # fmt: skip
        return self._run(units, length, self._both(state))[0]

    @property
    def _directions(self) -> int:
        return 2 if self.config.bidirectional else 1

    def _both(self, state: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        return (state, state) if self.config.cell == "lstm" else state

    def _run(
        self, units: Tensor, length: Tensor, state: tuple[Tensor, Tensor] | Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | Tensor]:
        # The exported graph takes lengths in any order, but is traced with sorted ones.
        packed = pack_padded_sequence(
            units, length.cpu(), batch_first=True, enforce_sorted=torch.onnx.is_in_onnx_export()
        )
        states, state = self.cells(packed, state)
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=units.shape[1])
        return padded, state

    def _truncated(self, units: Tensor, length: Tensor) -> Tensor:
        """The same states; gradients end at every `truncate`-th step."""
        length, order = torch.sort(length, descending=True)
        units, parts = units[order], []
        state = units.new_zeros(self.cells.num_layers, len(units), self.config.units)
        held: tuple[Tensor, Tensor] | Tensor = self._both(state)
        for start in range(0, int(length[0]), self.config.truncate):
            part = units[:, start : start + self.config.truncate]
            on = int((length > start).sum())  # the longest come first
            held = _apply(held, lambda one, on=on: one[:, :on].detach().contiguous())
            left = (length[:on] - start).clamp(max=part.shape[1])
            states, held = self._run(part[:on], left, held)
            parts.append(nn.functional.pad(states, (0, 0, 0, 0, 0, len(units) - on)))
        states = torch.cat(parts, dim=1)
        states = nn.functional.pad(states, (0, 0, 0, units.shape[1] - states.shape[1]))
        return states[torch.argsort(order)]


class Pool(nn.Module):
    """Reads one vector of the states of a sequence.

    Input (n, T, width), and lengths (n,). Output (n, self.width).
    Source of attention: Bahdanau et al. 2015, arXiv:1409.0473, with one learnt question.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width * (1 + config.pooling.count("+"))
        if "attention" in config.pooling:
            self.key = nn.Linear(config.width, config.width)
            self.question = nn.Linear(config.width, 1, bias=False)

    def forward(self, states: Tensor, length: Tensor) -> Tensor:
        pooling = self.config.pooling
        if pooling == "last":
            return self._last(states, length)
        real = within(states, length)
        parts = []
        if "mean" in pooling:
            parts.append((states * real).sum(dim=1) / length.unsqueeze(1).to(states.dtype))
        if "attention" in pooling:
            said = self.question(torch.tanh(self.key(states)))
            weights = torch.softmax(said.masked_fill(~real, _HIDDEN), dim=1)
            parts.append((weights * states).sum(dim=1))
        if "max" in pooling:
            parts.append(states.masked_fill(~real, _HIDDEN).amax(dim=1))
        return torch.cat(parts, dim=1)

    def _last(self, states: Tensor, length: Tensor) -> Tensor:
        """States at the end of each direction's way: the last step, and the first going back."""
        at = (length - 1).reshape(-1, 1, 1).expand(-1, 1, states.shape[2])
        last = states.gather(1, at).squeeze(1)
        if not self.config.bidirectional:
            return last
        units = self.config.units
        return torch.cat([last[:, :units], states[:, 0, units:]], dim=1)


class SequenceNetwork(nn.Module):
    """A recurrent network on windows of C channels.

    Input: window (n, T, C) FP32 in the channels' units, length (n,) INT64 from 1 to T.
    Output (n, config.outputs): logits, or standardised values.
    """

    def __init__(
        self, shift: Sequence[float], scale: Sequence[float], config: RecurrentConfig
    ) -> None:
        super().__init__()
        self.channels = Channels(shift, scale)
        self.states = States(len(shift), config)
        self.pool = Pool(config)
        self.answer = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(self.pool.width, config.outputs)
        )

    def forward(self, window: Tensor, length: Tensor) -> Tensor:
        states = self.states(self.channels(window), length)
        answer: Tensor = self.answer(self.pool(states, length))
        return answer

    def at_every_step(self, window: Tensor, length: Tensor) -> Tensor:
        """What would be answered if the window ended at each of its steps: (n, T, outputs).

        Only of a network that reads one way and is asked for its last state.
        """
        answer: Tensor = self.answer(self.states(self.channels(window), length))
        return answer


class EveryStep(nn.Module):
    """A network as it is trained where the truth of every step is known. Output (n, T, k)."""

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor, length: Tensor) -> Tensor:
        return self.network.at_every_step(window, length)


class Probabilities(nn.Module):
    """Logits (n, K) as probabilities (n, K).

    Logits are divided by `temperature`, see `models.blocks.Tempered`.
    """

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, sequence: Tensor, length: Tensor) -> Tensor:
        return torch.softmax(self.network(sequence, length) / self.temperature, dim=-1)


class InUnits(nn.Module):
    """Standardised values (n, k) in their own unit, and the ends of an interval where there is one.

    The interval's half width goes with the value: linearly between knots, and as at the nearest
    one beyond them.

    Attributes:
        shift, scale: (k,) a value is `standardised * scale + shift`.
        bounds: the smallest and the largest value that there can be; +-inf = any.
        knots, margins: (p, k) values that rise along axis 0, and the half width at each, in the
            value's unit; None = no interval.
    """

    def __init__(
        self,
        network: nn.Module,
        shift: Tensor,
        scale: Tensor,
        bounds: tuple[float, float] = (float("-inf"), float("inf")),
        interval: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.bounds = bounds
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.register_buffer("knots", None if interval is None else interval[0])
        self.register_buffer("margins", None if interval is None else interval[1])
        self.shift: Tensor
        self.scale: Tensor
        self.knots: Tensor | None
        self.margins: Tensor | None

    def forward(self, sequence: Tensor, length: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        value = self._held(self.network(sequence, length) * self.scale + self.shift)
        if self.knots is None or self.margins is None:
            return value
        margin = between(value, self.knots, self.margins)
        return value, self._held(value - margin), self._held(value + margin)

    def _held(self, value: Tensor) -> Tensor:
        low, high = self.bounds
        if low == float("-inf") and high == float("inf"):
            return value
        return value.clamp(low, high)


def between(value: Tensor, knots: Tensor, heights: Tensor) -> Tensor:
    """Heights at values, linearly between knots: (n, k) of (n, k), (p, k) and (p, k)."""
    height = heights[0].expand_as(value)
    for at in range(len(knots) - 1):
        run, rise = knots[at + 1] - knots[at], heights[at + 1] - heights[at]
        slope = torch.where(run > 0, rise / run.clamp_min(1e-30), torch.zeros_like(run))
        height = height + torch.minimum((value - knots[at]).clamp_min(0), run) * slope
    return height


def within(values: Tensor, length: Tensor) -> Tensor:
    """(n, T, 1), true where a step is no padding: `values` is (n, T, anything)."""
    steps = torch.arange(values.shape[1], device=values.device)
    return (steps.unsqueeze(0) < length.unsqueeze(1)).unsqueeze(-1)


def _apply(state: tuple[Tensor, Tensor] | Tensor, change: object) -> tuple[Tensor, Tensor] | Tensor:
    assert callable(change)
    if isinstance(state, tuple):
        return change(state[0]), change(state[1])
    held: Tensor = change(state)
    return held
