"""What is made small when an autoencoder learns."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.anomaly_scores import divergence, ssim
from models.autoencoder import Autoencoder
from training.fitting import Loss

Reconstruction = Literal["l2", "ssim", "combined", "cross-entropy"]
#: Share of SSIM in the combined loss: with it both weigh about as much, as squared errors of
#: pixels are an order of magnitude smaller than what SSIM misses.
SSIM_SHARE = 0.16


def reconstruction_loss(
    kind: Reconstruction, wanted: Tensor, got: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Mean loss of a batch; both (n, C, H, W) in [0, 1], or (n, T, C) of l2.

    Args:
        weight: of each value, of that shape; not of what SSIM misses.

    Source of SSIM: Bergmann et al. 2019, arXiv:1807.02011; of mixing it: Zhao et al. 2017,
    arXiv:1511.08861.
    """
    if kind == "cross-entropy":
        return nn.functional.binary_cross_entropy(got, wanted, weight)
    squared = nn.functional.mse_loss(got, wanted)
    if weight is not None:
        squared = (weight * (got - wanted).square()).mean()
    if kind == "l2":
        return squared
    missed = 1 - ssim(wanted, got).mean()
    return missed if kind == "ssim" else (1 - SSIM_SHARE) * squared + SSIM_SHARE * missed


def plain(network: nn.Module, kind: Reconstruction) -> Loss:
    """The reconstruction alone."""

    def loss(answer: Any, wanted: Tensor) -> Tensor:
        return reconstruction_loss(kind, scaled(network, wanted), answer[0])

    return loss


def sparse(network: nn.Module, kind: Reconstruction, active: float, weight: float) -> Loss:
    """The reconstruction, and how far each unit of the code is from being on so rarely.

    Args:
        active: how much a unit is on, on average over a batch, in (0, 1).
        weight: of the divergence, mean over the units.

    Source: Ng 2011, "Sparse autoencoder", CS294A lecture notes: the KL divergence of two
    Bernoulli variables.
    """

    def loss(answer: Any, wanted: Tensor) -> Tensor:
        on = answer[1].mean(dim=0).clamp(1e-6, 1 - 1e-6)
        apart = active * torch.log(active / on)
        apart = apart + (1 - active) * torch.log((1 - active) / (1 - on))
        missed = reconstruction_loss(kind, scaled(network, wanted), answer[0])
        return missed + weight * apart.mean()

    return loss


def variational(network: Autoencoder, annealed: int) -> Loss:
    """-ELBO by value: likelihood of the row with the best variance, and the divergence.

    The variance is the batch's mean squared error, which makes the weight between the two terms
    what it should be and leaves nothing to be chosen. The divergence counts more and more over
    the first updates: a code that is pressed to N(0, I) before it says anything never will.

    Args:
        annealed: updates until it counts in full; 0 = from the start.

    Source: Kingma and Welling 2014, arXiv:1312.6114; the variance: Rybkin et al. 2021,
    arXiv:2006.13202; annealing: Bowman et al. 2016, arXiv:1511.06349.
    """

    def loss(answer: Any, wanted: Tensor) -> Tensor:
        got, mean, log_variance = answer
        row = scaled(network, wanted)
        values = row[0].numel()
        # Pixels of 8 bits are no finer than this: a better fit is no better picture.
        squared = nn.functional.mse_loss(got, row).clamp_min(1e-6)
        share = 1.0
        if annealed and network.training:
            share = min(1.0, float(network.updates) / annealed)
        apart = divergence(mean, log_variance).mean()
        return 0.5 * torch.log(squared) + share * apart / values

    return loss


def scaled(network: nn.Module, wanted: Tensor) -> Tensor:
    """Rows in network units."""
    units: Tensor = network.scaling(wanted)  # type: ignore[operator]
    return units
