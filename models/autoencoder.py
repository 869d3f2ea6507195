"""Autoencoders with one vector as code: of small pictures and of windows of sensor values.

An encoder makes features of a row, `Autoencoder` a code of them, a decoder the row again. Scaling
is inside. Pictures of any size have a map as code: see `autoencoder_boards`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.blocks import ACTIVATIONS, Pixels
from models.recurrent import Channels

Body = Literal["dense", "conv", "lstm"]
Coding = Literal["plain", "sparse", "variational"]


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Shape of an autoencoder.

    Attributes:
        shape: of a row: (C, H, W) of a picture, (T, C) of a window.
        body: what encoder and decoder are made of.
        coding: plain; sparse: units in [0, 1] few of which are on; variational: a normal
            distribution.
        latent: length of the code.
        units: maps of the first convolution, or units of each hidden layer.
        activation: between layers, a name of `ACTIVATIONS`; an LSTM has its own.
        dropout: share of the features that an update leaves out.
    """

    shape: tuple[int, ...]
    body: Body = "conv"
    coding: Coding = "plain"
    latent: int = 16
    units: int = 32
    activation: str = "relu"
    dropout: float = 0.0


class Autoencoder(nn.Module):
    """Encoder, code, decoder.

    Input: rows (n, *shape) in their own unit. Output: the reconstruction (n, *shape) in network
    units, which is what `scaling` makes of the input, and the code (n, latent); of a variational
    one the code is the mean, and the logarithm of the variances follows.

    Source: Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural
    networks"; variational: Kingma and Welling 2014, arXiv:1312.6114; sparse: Ng 2011, "Sparse
    autoencoder", CS294A lecture notes.
    """

    def __init__(self, config: AutoencoderConfig, scaling: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.scaling = scaling
        self.encoder, self.decoder, features = _BODIES[config.body](config)
        self.left_out = nn.Dropout(config.dropout)
        self.mean = nn.Linear(features, config.latent)
        if config.coding == "variational":
            self.log_variance = nn.Linear(features, config.latent)
            # Updates so far: the weight of the divergence hangs on it, also after a resume.
            self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
            self.updates: Tensor

    def forward(self, row: Tensor) -> tuple[Tensor, ...]:
        code, *variance = self.encode(row)
        drawn = code
        if variance and self.training:
            self.updates += 1
            drawn = code + torch.exp(variance[0] / 2) * torch.randn_like(code)
        return (self.decode(drawn), code, *variance)

    def encode(self, row: Tensor) -> tuple[Tensor, ...]:
        """The code (n, latent); of a variational one its mean and its log variances."""
        features = self.left_out(self.encoder(self.scaling(row)))
        if self.config.coding == "variational":
            # Beyond these a variance is 0 or anything; the exponential has to stay finite.
            return self.mean(features), self.log_variance(features).clamp(-10.0, 10.0)
        code = self.mean(features)
        return (torch.sigmoid(code) if self.config.coding == "sparse" else code,)

    def decode(self, code: Tensor) -> Tensor:
        """Rows (n, *shape) in network units, of codes (n, latent)."""
        row: Tensor = self.decoder(code)
        return row


class Generator(nn.Module):
    """A variational autoencoder's decoder as a generator: noise (n, latent) to pictures.

    Noise is N(0, I) and is brought to the mean and the covariance that codes have. They should be
    0 and I by the divergence; where rows are few they are far from it, and of codes that no row has
    the decoder has learnt nothing. Output (n, C, H, W) FP32 in [0, 1], 0 = black.

    Args:
        network: variational, of pictures.
        mean, root: (latent,) of codes, and (latent, latent) lower triangle whose product with its
            transpose is their covariance; None = 0 and I.

    Source: Ghosh et al. 2020, arXiv:1903.12436, sec. 4, with one Gaussian.
    """

    def __init__(
        self, network: Autoencoder, mean: Tensor | None = None, root: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network = network
        latent = network.config.latent
        self.register_buffer("mean", torch.zeros(latent) if mean is None else mean)
        self.register_buffer("root", torch.eye(latent) if root is None else root)
        self.mean: Tensor
        self.root: Tensor

    def forward(self, noise: Tensor) -> Tensor:
        code = self.mean + noise @ self.root.T
        return self.network.decode(code).clamp(0.0, 1.0)


def of_pictures(config: AutoencoderConfig) -> Autoencoder:
    """An autoencoder of pictures (n, C, H, W), 0 to 255; network units are 0 to 1."""
    return Autoencoder(config, Pixels(1 / 255, 0.0))


def of_windows(
    config: AutoencoderConfig, shift: Sequence[float], scale: Sequence[float]
) -> Autoencoder:
    """An autoencoder of windows (n, T, C); network units are (value - shift) / scale."""
    return Autoencoder(config, Channels(shift, scale))


def _dense(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module, int]:
    """Two affine layers on each side."""
    active, units = ACTIVATIONS[config.activation], config.units * 4
    size = torch.Size(config.shape).numel()
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(size, units), active(), nn.Linear(units, units // 2), active()
    )
    decoder = nn.Sequential(
        nn.Linear(config.latent, units // 2), active(), nn.Linear(units // 2, units), active(),
        nn.Linear(units, size), nn.Unflatten(1, config.shape), *_ending(config),
    )  # fmt: skip
    return encoder, decoder, units // 2


def _conv(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module, int]:
    """Convolutions that halve the extents until about four are left, and back.

    Source: Masci et al. 2011; resizing before a convolution instead of transposed ones: Odena et
    al. 2016, "Deconvolution and checkerboard artifacts".
    """
    flat = len(config.shape) == 2  # windows: steps are the extent, channels the maps
    channels, *extents = (config.shape[1], config.shape[0]) if flat else config.shape
    convolve, normal = (nn.Conv1d, nn.BatchNorm1d) if flat else (nn.Conv2d, nn.BatchNorm2d)
    active, sizes, widths = ACTIVATIONS[config.activation], [tuple(extents)], [channels]
    down: list[nn.Module] = [_Turned()] if flat else []
    while max(sizes[-1]) > 4:
        sizes.append(tuple((one + 1) // 2 for one in sizes[-1]))
        widths.append(config.units * 2 ** min(2, len(widths) - 1))
        down += [
            convolve(widths[-2], widths[-1], 3, 2, 1, bias=False), normal(widths[-1]), active(),
        ]  # fmt: skip
    features = widths[-1] * torch.Size(sizes[-1]).numel()
    up: list[nn.Module] = [
        nn.Linear(config.latent, features), active(), nn.Unflatten(1, (widths[-1], *sizes[-1])),
    ]  # fmt: skip
    for at in range(len(sizes) - 1, 0, -1):
        out = widths[at - 1] if at > 1 else config.units
        up += [
            nn.Upsample(sizes[at - 1], mode="nearest"),
            convolve(widths[at], out, 3, 1, 1, bias=False), normal(out), active(),
        ]  # fmt: skip
    last = config.units if len(sizes) > 1 else channels
    up += [convolve(last, channels, 3, 1, 1), *([_Turned()] if flat else []), *_ending(config)]
    return nn.Sequential(*down, nn.Flatten()), nn.Sequential(*up), features


def _lstm(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module, int]:
    steps, channels = config.shape
    return (
        _LastState(channels, config.units),
        _Unrolled(config.latent, config.units, steps, channels),
        config.units,
    )


_BODIES = {"dense": _dense, "conv": _conv, "lstm": _lstm}


def _ending(config: AutoencoderConfig) -> tuple[nn.Module, ...]:
    """Pixels lie in [0, 1]; standardised channels anywhere."""
    return (nn.Sigmoid(),) if len(config.shape) == 3 else ()


class _Turned(nn.Module):
    """(n, T, C) to (n, C, T), and back."""

    def forward(self, window: Tensor) -> Tensor:
        return window.transpose(1, 2)


class _LastState(nn.Module):
    """An LSTM over (n, T, C); its state after the last step (n, units)."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.cells = nn.LSTM(channels, units, batch_first=True)

    def forward(self, window: Tensor) -> Tensor:
        _, (state, _) = self.cells(window)
        last: Tensor = state[0]
        return last


class _Unrolled(nn.Module):
    """An LSTM that reads the code (n, latent) at every step; windows (n, T, C).

    It writes the window from its end to its beginning, as the last step is what the code
    remembers best.
    Source: Malhotra et al. 2016, arXiv:1607.00148; Srivastava et al. 2015, arXiv:1502.04681, the
    unconditioned decoder.
    """

    def __init__(self, latent: int, units: int, steps: int, channels: int) -> None:
        super().__init__()
        self.steps = steps
        self.cells = nn.LSTM(latent, units, batch_first=True)
        self.step = nn.Linear(units, channels)

    def forward(self, code: Tensor) -> Tensor:
        states, _ = self.cells(code.unsqueeze(1).expand(-1, self.steps, -1))
        window: Tensor = self.step(states).flip(1)
        return window
