"""What makes a detector of an autoencoder: error maps, and how several scores become one.

All of it is in the graph. Statistics that a score needs are fitted on rows without anomalies.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.anomaly_scores import Seen, Shift
from models.blocks import Pixels


class PixelError(nn.Module):
    """Error of a picture to a power, mean over the channels, smoothed: (n, H, W).

    Args:
        sigma: deviation of the Gaussian in pixels; 0 = none.
        shrink: the map is smoothed at so many times less, where sigma allows; it divides H and W.
        power: of the error, even; 2 = squared. The higher, the less do small errors count.
    """

    def __init__(self, sigma: float = 0.0, shrink: int = 1, power: int = 2) -> None:
        super().__init__()
        self.power = power
        self.shrink = shrink
        self.smooth = Gaussian(sigma / shrink) if sigma else None

    def forward(self, row: Tensor, reconstruction: Tensor) -> Tensor:
        error = (row - reconstruction).square().pow(self.power // 2).mean(dim=1, keepdim=True)
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
    (n, H, W) or (n, T, C); reconstruction, in the rows' own unit; code (n, latent); parts (n, k);
    with `Shift` among them, shift (n, C): how far each channel has moved.

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

    def forward(self, row: Tensor) -> tuple[Tensor, ...]:
        seen = self.seen(row)
        parts = self.scores(seen)
        reconstruction = in_unit(self.network.scaling, seen.reconstruction)  # type: ignore[arg-type]
        moved = [part.moved(seen.row) for part in self.parts.values() if isinstance(part, Shift)]
        return self.combination(parts), seen.error, reconstruction, seen.code, parts, *moved


def in_unit(scaling: nn.Module, units: Tensor) -> Tensor:
    """Network units as the input's own: what `Pixels` or `Channels` did, undone."""
    if isinstance(scaling, Pixels):
        return (units - scaling.offset) / scaling.gain
    return units * scaling.scale + scaling.shift  # type: ignore[operator]
