"""What makes a detector of an autoencoder: error maps, the scores and how they become one.

All of it is in the graph. Statistics that a score needs are fitted on rows without anomalies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Pixels

#: Constants of SSIM for values in [0, 1], and the side of its windows in pixels.
_C1, _C2, _SSIM = 0.01**2, 0.03**2, 7


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


class PixelError(nn.Module):
    """Squared error of a picture, mean over the channels, smoothed: (n, H, W).

    Args:
        sigma: deviation of the Gaussian in pixels; 0 = none.
        shrink: the map is smoothed at so many times less, where sigma allows; it divides H and W.
    """

    def __init__(self, sigma: float = 0.0, shrink: int = 1) -> None:
        super().__init__()
        self.shrink = shrink
        self.smooth = Gaussian(sigma / shrink) if sigma else None

    def forward(self, row: Tensor, reconstruction: Tensor) -> Tensor:
        error = (row - reconstruction).square().mean(dim=1, keepdim=True)
        if self.smooth is not None:
            if self.shrink > 1:
                error = nn.functional.avg_pool2d(error, self.shrink)
            error = self.smooth(error)
            if self.shrink > 1:
                error = nn.functional.interpolate(
                    error, scale_factor=float(self.shrink), mode="bilinear"
                )
        return error.squeeze(1)


class ChannelError(nn.Module):
    """Squared error of a window in units of what is usual of each channel: (n, T, C).

    1 is the mean of anomaly-free rows. Which sensor stands out is then seen at once.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.ones(channels))
        self.usual: Tensor

    def fit(self, row: Tensor, reconstruction: Tensor) -> None:
        """Learn what is usual. A channel that is always right counts as a thousandth."""
        self.usual.copy_((row - reconstruction).square().mean(dim=(0, 1)).clamp_min(1e-6))

    def forward(self, row: Tensor, reconstruction: Tensor) -> Tensor:
        return (row - reconstruction).square() / self.usual


class Gaussian(nn.Module):
    """(n, 1, H, W) smoothed by a Gaussian; at the edges the last pixels go on."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.reach = max(1, round(3 * sigma))
        at = torch.arange(-self.reach, self.reach + 1, dtype=torch.float32)
        bell = torch.exp(-at.square() / (2 * sigma**2))
        self.register_buffer("bell", bell / bell.sum(), persistent=False)
        self.bell: Tensor

    def forward(self, map_: Tensor) -> Tensor:
        wide = nn.functional.pad(map_, (self.reach,) * 4, mode="replicate")
        down = nn.functional.conv2d(wide, self.bell.view(1, 1, -1, 1))
        return nn.functional.conv2d(down, self.bell.view(1, 1, 1, -1))


class Mean(nn.Module):
    """The mean of the error map: (n, 1)."""

    def forward(self, seen: Seen) -> Tensor:
        return seen.error.flatten(1).mean(dim=1, keepdim=True)


class Peak(nn.Module):
    """The largest value of the error map: (n, 1)."""

    def forward(self, seen: Seen) -> Tensor:
        return seen.error.flatten(1).amax(dim=1, keepdim=True)


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
        apart = nn.functional.linear(seen.code - self.centre, self.whiten)
        return apart.square().sum(dim=1, keepdim=True)


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


class Combination(nn.Module):
    """Several scores (n, k) as one (n, 1): the mean of their standardised logarithms.

    Each is compared with what is usual of anomaly-free rows, so that none outweighs the others
    by its unit: 0 is a usual row, 1 a deviation above it in all scores. No label chooses anything.
    """

    def __init__(self, scores: int) -> None:
        super().__init__()
        self.register_buffer("least", torch.full((scores,), 1e-6))
        self.register_buffer("centre", torch.zeros(scores))
        self.register_buffer("spread", torch.ones(scores))
        self.least: Tensor
        self.centre: Tensor
        self.spread: Tensor

    def fit(self, parts: Tensor) -> None:
        """Learn what is usual of scores (n, k) of anomaly-free rows, not trained on."""
        parts = parts.double()
        # Near 0 a logarithm would make much of nothing.
        self.least.copy_(1e-2 * parts.mean(dim=0).clamp_min(1e-10))
        logs = torch.log(parts + self.least)
        self.centre.copy_(logs.mean(dim=0))
        self.spread.copy_(logs.std(dim=0, correction=0).clamp_min(1e-2))

    def forward(self, parts: Tensor) -> Tensor:
        standard = (torch.log(parts.clamp_min(0.0) + self.least) - self.centre) / self.spread
        return standard.mean(dim=1, keepdim=True)


class Detector(nn.Module):
    """An autoencoder as it is released.

    Input: rows in their own unit. Output: score (n, 1), higher = more anomalous; error
    (n, H, W) or (n, T, C); reconstruction, in the rows' own unit; code (n, latent); parts (n, k).

    Args:
        network: gives the reconstruction in network units, the code and, of a variational one,
            its log variances; `scaling` makes network units.
        error: `PixelError` or `ChannelError`.
        parts: the scores, by name.
    """

    def __init__(
        self, network: nn.Module, error: nn.Module, parts: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.network = network
        self.error = error
        self.parts = nn.ModuleDict(dict(parts))
        self.combination = Combination(len(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores, in their order."""
        return tuple(self.parts)

    def seen(self, row: Tensor) -> Seen:
        """What the scores look at."""
        scaled = self.network.scaling(row)  # type: ignore[operator]
        reconstruction, *code = self.network(row)
        return Seen(scaled, reconstruction, self.error(scaled, reconstruction), *code)

    def scores(self, seen: Seen) -> Tensor:
        """All scores: (n, k)."""
        return torch.cat([part(seen) for part in self.parts.values()], dim=1)

    def forward(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        seen = self.seen(row)
        parts = self.scores(seen)
        reconstruction = in_unit(self.network.scaling, seen.reconstruction)  # type: ignore[arg-type]
        return self.combination(parts), seen.error, reconstruction, seen.code, parts


def in_unit(scaling: nn.Module, units: Tensor) -> Tensor:
    """Network units as the input's own: what `Pixels` or `Channels` did, undone."""
    if isinstance(scaling, Pixels):
        return (units - scaling.offset) / scaling.gain
    return units * scaling.scale + scaling.shift  # type: ignore[operator]


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
        return {"peak": Peak()}
    scores: dict[str, nn.Module] = {"pixel": Mean()}
    if len(shape) == 3:
        scores |= {"ssim": Dissimilarity(), "multiscale": MultiScale()}
    else:
        scores = {"window": Mean(), "last": Last()}
    scores["mahalanobis"] = Mahalanobis(latent)
    return scores | ({"elbo": NegativeElbo()} if variational else {})
