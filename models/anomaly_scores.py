"""Scores of a row by what an autoencoder made of it: (n, 1) each, higher = more anomalous.

Statistics that a score needs are fitted on rows without anomalies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

#: Constants of SSIM for values in [0, 1], and the side of its windows in pixels.
_C1, _C2, _SSIM = 0.01**2, 0.03**2, 7
#: Count only where they are asked for: `level` would always be high where a process drifts, and
#: `shift` is high after every step of a set point.
ASKED_FOR = frozenset({"level", "shift"})


class Seen(NamedTuple):
    """What a score may look at.

    Attributes:
        row, reconstruction: (n, C, H, W) or (n, T, C), in network units.
        error: the map as it is answered: (n, H, W) or (n, T, C).
        code: (n, latent).
        log_variance: (n, latent) of a variational code, else nothing.
    """

    row: Tensor
    reconstruction: Tensor
    error: Tensor
    code: Tensor
    log_variance: Tensor | None = None


class Mean(nn.Module):
    """The mean of the error map: (n, 1)."""

    def forward(self, seen: Seen) -> Tensor:
        return seen.error.flatten(1).mean(dim=1, keepdim=True)


class Peak(nn.Module):
    """The largest value of the error map: (n, 1)."""

    def forward(self, seen: Seen) -> Tensor:
        return seen.error.flatten(1).amax(dim=1, keepdim=True)


class Worst(nn.Module):
    """Mean of the largest values of the error map, a share of all: (n, 1).

    Several small defects add up in it, of which the peak shows the worst alone.
    """

    def __init__(self, share: float = 1 / 64, every: int = 4) -> None:
        super().__init__()
        self.share, self.every = share, every

    def forward(self, seen: Seen) -> Tensor:
        # A smooth map is looked at on a grid: a sixteenth of the values to be sorted.
        values = seen.error[:, :: self.every, :: self.every].flatten(1)
        count = max(1, round(self.share * values.shape[1]))
        return values.topk(count, dim=1).values.mean(dim=1, keepdim=True)


class Last(nn.Module):
    """The error of a window's last step, mean over the channels: (n, 1)."""

    def forward(self, seen: Seen) -> Tensor:
        return seen.error[:, -1].mean(dim=1, keepdim=True)


class Dissimilarity(nn.Module):
    """1 - SSIM, mean over the picture: (n, 1).

    Source: Wang et al. 2004; as an anomaly score: Bergmann et al. 2019, arXiv:1807.02011.
    """

    def forward(self, seen: Seen) -> Tensor:
        return 1 - ssim(seen.row, seen.reconstruction).flatten(1).mean(dim=1, keepdim=True)


class MultiScale(nn.Module):
    """Squared error of pictures that are halved again and again, mean over the scales: (n, 1).

    What is wrong over some extent outlasts halving, noise does not.
    """

    def __init__(self, scales: int = 3) -> None:
        super().__init__()
        self.scales = scales

    def forward(self, seen: Seen) -> Tensor:
        difference = seen.row - seen.reconstruction
        errors = []
        for _ in range(self.scales):
            difference = nn.functional.avg_pool2d(difference, 2, ceil_mode=True)
            errors.append(difference.square().flatten(1).mean(dim=1, keepdim=True))
        return torch.cat(errors, dim=1).mean(dim=1, keepdim=True)


class Mahalanobis(nn.Module):
    """Squared Mahalanobis distance of the code from those of training rows: (n, 1).

    The covariance is shrunk towards its diagonal, so that few rows suffice.
    Source: Mahalanobis 1936; shrinking: Ledoit and Wolf 2004, with a fixed share.
    """

    def __init__(self, latent: int, shrink: float = 0.1) -> None:
        super().__init__()
        self.shrink = shrink
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("whiten", torch.eye(latent))
        self.centre: Tensor
        self.whiten: Tensor

    def fit(self, codes: Tensor) -> None:
        """Learn centre and covariance of codes (n, latent)."""
        codes = codes.double()
        centre = codes.mean(dim=0)
        covariance = (codes - centre).T @ (codes - centre) / len(codes)
        spread = covariance.diagonal()
        # A unit that never moves has no direction of its own to be far away in.
        least = 1e-3 * spread.mean().clamp_min(1e-12)
        shrunk = (1 - self.shrink) * covariance + torch.diag(self.shrink * spread + least)
        self.centre.copy_(centre)
        self.whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(shrunk)))

    def forward(self, seen: Seen) -> Tensor:
        return self.distance(seen.code)

    def distance(self, vectors: Tensor) -> Tensor:
        """Squared distance of vectors (n, latent): (n, 1)."""
        apart = nn.functional.linear(vectors - self.centre, self.whiten)
        return apart.square().sum(dim=1, keepdim=True)


class Level(Mahalanobis):
    """How far the channels' means over a window are from those of training windows: (n, 1).

    The squared Mahalanobis distance. A code may well hold that a channel as a whole lies lower
    than it ever did; the window is then reconstructed and its error shows nothing, while this does.
    Source: Hotelling 1947, "Multivariate quality control", the T-squared of subgroup means.
    """

    def forward(self, seen: Seen) -> Tensor:
        return self.distance(seen.row.mean(dim=1))


class Shift(nn.Module):
    """How far the channel that moved most has moved within a window: (n, 1).

    The mean over the last sixth of the steps against the mean over those before, in units of what
    such a difference usually is. Drift that is slow beside a window cancels out.
    Source: two windows over a stream, Kifer, Ben-David and Gehrke 2004, "Detecting change in data
    streams", with the means as the distance.
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.last = max(1, steps // 6)
        self.register_buffer("usual", torch.ones(channels))
        self.usual: Tensor

    def fit(self, rows: Tensor) -> None:
        """Learn what a difference usually is, from windows (n, T, C), at least a thousandth."""
        self.usual.copy_(self.differences(rows).square().mean(dim=0).sqrt().clamp_min(1e-3))

    def forward(self, seen: Seen) -> Tensor:
        return self.moved(seen.row).amax(dim=1, keepdim=True)

    def moved(self, rows: Tensor) -> Tensor:
        """How far each channel of windows (n, T, C) has moved, 1 = as far as usual: (n, C)."""
        return self.differences(rows).abs() / self.usual

    def differences(self, rows: Tensor) -> Tensor:
        """Of the means of windows (n, T, C), in network units: (n, C)."""
        # A small difference of two large means: in single precision the order of adding would show.
        rows = rows.double()
        now, before = rows[:, -self.last :], rows[:, : -self.last]
        return (now.mean(dim=1) - before.mean(dim=1)).float()


class NegativeElbo(nn.Module):
    """What a variational autoencoder holds against a row: -ELBO up to a constant, (n, 1).

    Squared error over twice the variance, at the code's mean, plus the divergence of the code
    from N(0, I). Nothing is drawn: the same row has the same score.
    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B; one variance for all pixels:
    Rybkin et al. 2021, arXiv:2006.13202.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(()))
        self.variance: Tensor

    def fit(self, row: Tensor, reconstruction: Tensor) -> None:
        """Learn the variance."""
        self.variance.copy_((row - reconstruction).square().mean().clamp_min(1e-8))

    def forward(self, seen: Seen) -> Tensor:
        if seen.log_variance is None:
            raise ValueError("the code has no variance: no variational autoencoder")
        off = (seen.row - seen.reconstruction).square().flatten(1).sum(dim=1, keepdim=True)
        return off / (2 * self.variance) + divergence(seen.code, seen.log_variance).unsqueeze(1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, I) by row: (n,) of (n, d) and (n, d).

    0.5 * sum(exp(log_variance) + mean^2 - 1 - log_variance), in nats.
    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity of pictures in [0, 1], in windows of 7 x 7: (n, C, H - 6, W - 6).

    1 = the same. Source: Wang et al. 2004, "Image quality assessment", with even windows.
    """

    def mean(values: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(values, _SSIM, 1)

    means = mean(one), mean(other)
    spreads = [
        (mean(values.square()) - middle.square()).clamp_min(0)
        for values, middle in zip((one, other), means, strict=True)
    ]
    together = mean(one * other) - means[0] * means[1]
    above = (2 * means[0] * means[1] + _C1) * (2 * together + _C2)
    below = (means[0].square() + means[1].square() + _C1) * (spreads[0] + spreads[1] + _C2)
    return above / below


def scores_of(
    shape: Sequence[int], latent: int, variational: bool, large: bool
) -> dict[str, nn.Module]:
    """The scores that suit rows of a shape, by name.

    Args:
        shape: (C, H, W) of pictures, (T, C) of windows.
        large: whether a defect is a small part of the picture.
    """
    if large:
        return {"worst": Worst(), "peak": Peak()}
    scores: dict[str, nn.Module] = {"pixel": Mean()}
    if len(shape) == 3:
        scores |= {"ssim": Dissimilarity(), "multiscale": MultiScale()}
    else:
        scores = {"window": Mean(), "last": Last(), "level": Level(shape[1])}
        scores["shift"] = Shift(shape[1], shape[0])
    scores["mahalanobis"] = Mahalanobis(latent)
    return scores | ({"elbo": NegativeElbo()} if variational else {})
