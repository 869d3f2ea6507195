"""A policy as it is served: from raw observations to preferences and to the action to take.

Everything between a sensor and an action is in the graph, so that training and serving cannot
disagree: normalisation, the network, the mask of legal actions, sampling, and the safe default
where the state is unlike any that training saw.

Sources: Mnih et al. 2015, "Human-level control through deep reinforcement learning" (DQN, whose
preferences are Q-values); Schulman et al. 2017, arXiv:1707.06347 (PPO, whose preferences are
log-probabilities); Maddison et al. 2014, arXiv:1411.0030 (sampling by Gumbel noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Added to the variance before the root, and where normalised values are cut; as in training.
EPSILON, CLIP = 1e-8, 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What training saw of each feature, and what is done beyond it.

    Attributes:
        low, high: (D,) smallest and largest value of each feature.
        default: the action beyond them, by number.
        tolerance: how far beyond them a state may lie before it is, in widths of the range.
    """

    low: Sequence[float]
    high: Sequence[float]
    default: int
    tolerance: float = 0.0


class PolicyNetwork(nn.Module):
    """A network of preferences with all that makes an action of them.

    Args:
        network: (n, D) normalised observations to (n, A): Q-values, or logits.
        mean, variance: (D,) that observations are normalised by; None = they are not.
        bounds: of the states that training saw.
        logits: whether the network gives logits; log-probabilities are then made of them.
    """

    mean: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor
    width: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] | None,
        variance: Sequence[float] | None,
        bounds: Bounds,
        *,
        logits: bool,
    ) -> None:
        super().__init__()
        low, high = torch.tensor(list(bounds.low)), torch.tensor(list(bounds.high))
        self.network = network
        self.normalised = mean is not None and variance is not None
        self.register_buffer("mean", torch.tensor(list(mean or [0.0] * len(low))))
        self.register_buffer("variance", torch.tensor(list(variance or [1.0] * len(low))))
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        # What never changed has no width: how far it is off is said in its own unit.
        self.register_buffer("width", torch.where(high > low, high - low, torch.ones_like(low)))
        self.default = bounds.default
        self.tolerance = bounds.tolerance
        self.logits = logits

    def preferences(self, observation: Tensor) -> Tensor:
        """(n, D) raw observations to (n, A) Q-values or log-probabilities."""
        if self.normalised:
            scaled = (observation - self.mean) / torch.sqrt(self.variance + EPSILON)
            observation = scaled.clamp(-CLIP, CLIP)
        values: Tensor = self.network(observation)
        return torch.log_softmax(values, dim=1) if self.logits else values

    def forward(
        self, observation: Tensor, legal: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Decide.

        Args:
            observation: (n, D) raw, float32.
            legal: (n, A) bool, at least one true a row.
            noise: (n, A) added to the preferences: 0 takes the best action; of standard Gumbel
                noise comes a sample, from the probabilities or from exp(Q).

        Returns:
            Preferences (n, A), of all actions; the action to take (n,); how far the state lies
            beyond what training saw, in widths of its range (n,), 0 within; the feature that lies
            furthest (n,); whether the safe default was taken for it (n,).
        """
        preference = self.preferences(observation)
        worst = torch.full_like(preference, torch.finfo(torch.float32).min)
        best = torch.where(legal, preference + noise, worst).argmax(dim=1)
        beyond = torch.maximum(self.low - observation, observation - self.high) / self.width
        furthest = beyond.argmax(dim=1)
        outside = beyond.amax(dim=1).clamp(min=0)
        safe = (outside > self.tolerance) & legal[:, self.default]
        action = torch.where(safe, torch.full_like(best, self.default), best)
        return preference, action, outside, furthest, safe
