"""Attention: which places of a source a decoder looks at while it writes.

n sequences, S source positions, U units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bahdanau(nn.Module):
    """Additive attention: v . tanh(W s + U h), with the state before this step's token.

    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, sec. 3.1 and appendix A.1.2.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.keys = nn.Linear(2 * units, units)
        self.query = nn.Linear(units, units, bias=False)
        self.energy = nn.Linear(units, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Weights (n, S), 0 where padded, of query (n, U), keys (n, S, U), mask (n, S)."""
        return torch.softmax(self.energies(query, keys).masked_fill(~mask, -torch.inf), dim=1)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """Energies (n, S), of any size."""
        energy: Tensor = self.energy(torch.tanh(keys + self.query(query).unsqueeze(1)))
        return energy.squeeze(2)


class Luong(nn.Module):
    """Multiplicative attention: s . W h ("general"), with the state after this step's token.

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, sec. 3.1.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.keys = nn.Linear(2 * units, units, bias=False)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Weights (n, S), 0 where padded, of query (n, U), keys (n, S, U), mask (n, S)."""
        return torch.softmax(self.energies(query, keys).masked_fill(~mask, -torch.inf), dim=1)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """(n, S), of any size."""
        return torch.matmul(keys, query.unsqueeze(2)).squeeze(2)
