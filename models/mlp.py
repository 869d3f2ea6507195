"""Multilayer perceptrons on tables.

A network takes the row as it was written down: columns of any unit, kinds of things by their
number, gaps. It scales, spreads and fills them itself, so that training and serving cannot
disagree about preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.blocks import ACTIVATIONS

#: What stands for a gap where NaN cannot be sent: any value at or below it is missing.
MISSING = -1e30


@dataclass(frozen=True, slots=True)
class MLPConfig:
    """Units of the hidden layers from the input on, of the answer, and what stands between."""

    hidden: tuple[int, ...] = (100,)
    outputs: int = 2
    activation: str = "relu"
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of the table is read.

    Attributes:
        kinds: number of kinds that a categorical column has, numbered from 0; 0 = numeric.
        gap: number of the kind that a gap is; -1 = of none.
        fill: what a numeric column holds where it has a gap, in the column's unit.
        shift, scale: the network sees (value - shift) / scale of a numeric column.
        gaps: whether the network is told that a gap was filled.
    """

    kinds: int = 0
    gap: int = -1
    fill: float = 0.0
    shift: float = 0.0
    scale: float = 1.0
    gaps: bool = False


class Kinds(nn.Module):
    """One categorical column as one unit a kind: 1 where it is this one.

    A gap is the kind numbered `gap`, or none of them (all 0) where that is -1.

    Input (n,) FP32, whole numbers from 0 to kinds - 1, or a gap. Output (n, kinds).
    Any other number is refused, by torch with IndexError and by the graph where it is run on a
    CPU: it is no row of the table that is looked up.
    """

    def __init__(self, kinds: int, gap: int = -1) -> None:
        super().__init__()
        self.kinds = kinds
        self.gap = gap if gap >= 0 else kinds
        # The last row is no kind. A look-up below 0 would count from the end.
        self.register_buffer("rows", torch.eye(kinds + 1)[:, :kinds], persistent=False)
        self.rows: Tensor

    def forward(self, codes: Tensor) -> Tensor:
        gap = is_missing(codes)
        known = (codes == codes.round()) & (codes >= 0) & (codes < self.kinds)
        index = torch.where(known, codes, torch.full_like(codes, self.kinds + 1.0))
        index = torch.where(gap, torch.full_like(codes, float(self.gap)), index)
        return nn.functional.embedding(index.to(torch.int64), self.rows)


class Row(nn.Module):
    """Reads rows of a table: fills gaps, scales numbers, spreads kinds.

    Input (n, D) FP32, NaN or MISSING where there is a gap. Output (n, width) FP32: the numeric
    columns, the units of each categorical one, a 1 for each numeric gap that is told.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        numeric = [at for at, column in enumerate(columns) if not column.kinds]
        self.categorical = [at for at, column in enumerate(columns) if column.kinds]
        told = [place for place, at in enumerate(numeric) if columns[at].gaps]
        self.kinds = nn.ModuleList(
            Kinds(columns[at].kinds, columns[at].gap) for at in self.categorical
        )
        self.has_numbers, self.has_gaps = bool(numeric), bool(told)
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64))
        self.register_buffer("told", torch.tensor(told, dtype=torch.int64))
        for name in ("fill", "shift", "scale"):
            known = torch.tensor([getattr(columns[at], name) for at in numeric])
            self.register_buffer(name, known)
        self.numeric: Tensor
        self.told: Tensor
        self.fill: Tensor
        self.shift: Tensor
        self.scale: Tensor
        kinds = sum(columns[at].kinds for at in self.categorical)
        self.width = len(numeric) + kinds + len(told)

    def forward(self, row: Tensor) -> Tensor:
        parts = []
        if self.has_numbers:
            numbers = row.index_select(1, self.numeric)
            gap = is_missing(numbers)
            filled = torch.where(gap, self.fill, numbers)
            parts.append((filled - self.shift) / self.scale)
        parts += [kinds(row[:, at]) for at, kinds in zip(self.categorical, self.kinds, strict=True)]
        if self.has_gaps:
            parts.append(gap.index_select(1, self.told).to(torch.float32))
        return torch.cat(parts, dim=1)


class MLP(nn.Module):
    """Fully connected layers: affine, activation, dropout; the last one affine alone.

    Input (n, inputs). Output (n, config.outputs).
    Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating
    errors", Nature 323; first weights for rectifiers: He et al. 2015, arXiv:1502.01852, else
    Glorot and Bengio 2010, AISTATS.
    """

    def __init__(self, inputs: int, config: MLPConfig | None = None) -> None:
        super().__init__()
        config = config or MLPConfig()
        layers: list[nn.Module] = []
        width = inputs
        for units in config.hidden:
            layers += [_affine(width, units, config.activation), ACTIVATIONS[config.activation]()]
            if config.dropout:
                layers.append(nn.Dropout(config.dropout))
            width = units
        layers.append(_affine(width, config.outputs, "linear"))
        self.layers = nn.Sequential(*layers)

    def forward(self, units: Tensor) -> Tensor:
        answer: Tensor = self.layers(units)
        return answer


class TableNetwork(nn.Module):
    """A perceptron behind its reading of the row.

    Input (n, D) FP32, see `Row`. Output (n, config.outputs): logits, or standardised values.
    """

    def __init__(self, columns: Sequence[Column], config: MLPConfig | None = None) -> None:
        super().__init__()
        self.row = Row(columns)
        self.mlp = MLP(self.row.width, config)

    def forward(self, row: Tensor) -> Tensor:
        answer: Tensor = self.mlp(self.row(row))
        return answer


class Sigmoid(nn.Module):
    """One logit (n, 1), that of the second class, as probabilities of both: (n, 2).

    Logits are divided by `temperature`, see `models.blocks.Tempered`.
    """

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, row: Tensor) -> Tensor:
        logit = self.network(row) / self.temperature
        # Each by its own sigmoid: 1 - p would lose the small one's digits.
        return torch.cat([torch.sigmoid(-logit), torch.sigmoid(logit)], dim=1)


class Softmax(nn.Module):
    """Logits (n, classes) as probabilities (n, classes); divided as those of `Sigmoid`."""

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, row: Tensor) -> Tensor:
        return torch.softmax(self.network(row) / self.temperature, dim=-1)


class Values(nn.Module):
    """Standardised values (n, k) in their own unit: times `scale`, plus `shift`."""

    def __init__(self, network: nn.Module, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, row: Tensor) -> Tensor:
        value: Tensor = self.network(row) * self.scale + self.shift
        return value


def is_missing(values: Tensor) -> Tensor:
    """Where there is a gap: NaN, or a value at or below MISSING."""
    return torch.isnan(values) | (values <= MISSING)


def _affine(inputs: int, outputs: int, activation: str) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    if activation in ("relu", "leaky-relu"):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
