"""Train an autoencoder on what is normal and release it. Read `main` from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from models import autoencoder
from models.anomaly import ChannelError, Detector, PixelError
from models.anomaly_scores import ASKED_FOR, Level, Mahalanobis, NegativeElbo, Shift, scores_of
from models.autoencoder import AutoencoderConfig
from models.autoencoder_boards import BoardAutoencoder, BoardConfig
from models.blocks import Pixels
from service.anomaly import conformal
from service.store import ModelStore, StoredModel
from training import autoencoder_losses, damage
from training.augment import cropped, turns, variation_of
from training.autoencoder_candidate import budget_of, candidate_of
from training.autoencoder_config import Config
from training.autoencoder_losses import Reconstruction
from training.data import one_class_sources
from training.decoder_release import release_decoder
from training.fitting import Fitted, Loss, fit
from training.lessons import one_thread
from training.options import WrongOption
from training.release import release

Rows = NDArray[np.uint8] | NDArray[np.float32]
#: Values of the rows that go through the network together: they stay in the cache.
TOGETHER = 1_250_000
#: Patches of a held picture that choose the epoch.
PATCHES = 4
#: How much more a damaged pixel of a large picture counts: there are a hundred others for each.
REPAIRED = 3.0
#: Power of the error of pictures of two tones: only what is surely another tone counts, not the
#: edges between tones, where nobody knows to a pixel.
SURELY = 16


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, learn what is normal, calibrate, release; of a variational one of pictures its
    decoder, too, as `NAME-decoder`.

    Returns:
        The detector.

    Raises:
        WrongOption: an option does not fit the data or the machine.
        BadNormal, BadPictures, BadSequences, BadFile: nothing can be learnt from the data.
        GlasslineError: training diverged, or too few rows calibrate the budget.
        ReleaseRefused: the exported graph is not the trained network.
    """
    data = one_class_sources.load(config, console)
    config.check(data.shape)
    if not config.evt:  # too few rows are told of before anything is trained
        conformal.rank(len(data.calibration), budget_of(config).rate)
    detector, fitted = learn(config, data.train, data.held, console)
    with console.status("exporting, comparing with the trained network, calibrating ..."):
        candidate = candidate_of(config, data, detector, fitted)
        released = release(candidate, store)
    network, media = detector.network, data.media
    if config.kind != "vae" or media is None or not isinstance(network, autoencoder.Autoencoder):
        return released
    with console.status("releasing its decoder, too ..."):
        unseen = np.concatenate([data.calibration, data.test[~data.anomalous]])
        decoder = release_decoder(
            network, config.name, data.name, media, np.asarray(data.train, np.uint8),
            np.asarray(unseen, np.uint8), candidate.assets["learning_curve"][1],
            candidate.provenance, store,
        )  # fmt: skip
    line = f"released {decoder.manifest.reference}: what it draws of noise"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    return released


def learn(
    config: Config, train: Rows, held: Rows, console: Console | None = None
) -> tuple[Detector, Fitted]:
    """Fit a network to anomaly-free rows, and its scores to what is usual of them.

    Args:
        config: of these `kind`, `loss`, `latent`, `units` and the like, not the data.
        train: (n, C, H, W) UINT8 or (n, T, C) FP32; the network and the latent distance.
        held: more of them, not trained on: the epoch, what an error usually is, and how the
            scores are put together.

    Raises:
        WrongOption: an option does not fit the rows or the machine.
        GlasslineError: training diverged.
    """
    console = console or Console(quiet=True)
    config.check(train.shape[1:])
    torch.manual_seed(config.options.seed)
    network = network_of(config, train)
    fitted = _fitted(config, network, train, held, console)
    detector = _detector(config, network, train.shape[1:])
    fit_scores(detector, train, held)
    return detector, fitted


def network_of(config: Config, train: Rows) -> nn.Module:
    """The network, with fresh weights; channels are scaled by their training rows."""
    shape = train.shape[1:]
    if config.is_large(shape):
        board = BoardConfig(channels=shape[0], skips=config.kind == "denoising",
                            latent=config.latent, widths=_widths(config))  # fmt: skip
        if shape[1] % board.multiple or shape[2] % board.multiple:
            raise WrongOption(
                f"--size: got {shape[2]} x {shape[1]}, wanted multiples of {board.multiple} pixels."
            )
        return BoardAutoencoder(board)
    wanted = AutoencoderConfig(
        shape, config.body, config.coding, config.latent, config.units,
        config.options.activation, config.options.dropout,
    )  # fmt: skip
    if len(shape) == 3:
        return autoencoder.of_pictures(wanted)
    steps = train.reshape(-1, shape[1]).astype(np.float64)
    spread = steps.std(axis=0)
    return autoencoder.of_windows(
        wanted, steps.mean(axis=0).tolist(), np.where(spread > 0, spread, 1.0).tolist()
    )


def _widths(config: Config) -> tuple[int, ...]:
    return (config.units, config.units * 3 // 2, config.units * 2, config.units * 2)


class Taught(nn.Module):
    """A network as it is taught: rows are varied, then damaged, and it is asked for the former.

    Output: what the network answers, the rows that are wanted and the damaged ones that it was
    shown; of rows that are only looked at, neither.
    """

    def __init__(
        self,
        network: nn.Module,
        vary: Callable[[Tensor], Tensor] | None,
        spoil: Callable[[Tensor], Tensor] | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.vary = vary
        self.spoil = spoil

    def forward(self, row: Tensor) -> tuple[Any, Tensor | None, Tensor | None]:
        if not self.training:
            return self.network(row), None, None
        wanted = row if self.vary is None else self.vary(row)
        shown = wanted if self.spoil is None else self.spoil(wanted)
        return self.network(shown), wanted, shown


def _fitted(
    config: Config, network: nn.Module, train: Rows, held: Rows, console: Console
) -> Fitted:
    large = config.is_large(train.shape[1:])
    spoil = _spoiling(network, large) if config.kind == "denoising" else None
    looked_at = torch.from_numpy(held)
    if large:
        looked_at = cropped(looked_at.repeat(PATCHES, 1, 1, 1), config.patch)
    shown = looked_at if spoil is None else spoil(looked_at)
    rows = torch.from_numpy(train)
    kind = config.judged(large)
    loss = _taught(network, kind, _loss(config, network, large, len(train)), large)
    error = _taught(network, "l2", autoencoder_losses.plain(network, "l2"), False)
    return fit(
        Taught(network, _varying(config, train.shape[1:], large), spoil),
        loss=loss,
        score=("error", error),
        train=(rows, rows),
        validation=(shown, looked_at),
        options=config.options,
        title=config.name,
        console=console,
        validated=max(1, TOGETHER // looked_at[0].numel()),
    )


def _varying(
    config: Config, shape: tuple[int, ...], large: bool
) -> Callable[[Tensor], Tensor] | None:
    """How a row becomes what is to be reconstructed."""
    if large:
        return lambda boards: turns(boards, config.patch).to(torch.uint8)
    if config.augment == "none":
        return None
    return variation_of(config.augment, shape[1])


def _spoiling(network: nn.Module, large: bool) -> Callable[[Tensor], Tensor]:
    """How it is damaged: strokes of large pictures, noise and gaps of everything else."""
    if large:
        return damage.Strokes()
    if isinstance(network.scaling, Pixels):
        return damage.noisy
    channels = network.scaling
    return lambda window: damage.dropped_out(window, channels.shift, channels.scale)  # type: ignore[arg-type, union-attr]


def _loss(config: Config, network: nn.Module, large: bool, rows: int) -> Loss:
    kind = config.judged(large)
    if config.kind == "vae":
        assert isinstance(network, autoencoder.Autoencoder)
        batches = max(1, rows // config.options.batch_size)
        return autoencoder_losses.variational(network, config.anneal * batches)
    if config.kind == "sparse":
        return autoencoder_losses.sparse(network, kind, config.active, config.sparsity)
    return autoencoder_losses.plain(network, kind)


def _taught(network: nn.Module, kind: Reconstruction, loss: Loss, large: bool) -> Loss:
    """A loss of what `Taught` answers; what was to be repaired of large pictures counts more."""

    def of_all(answer: Any, wanted: Tensor) -> Tensor:
        said, varied, shown = answer
        if large and shown is not None and varied is not None:
            weight = 1 + REPAIRED * (shown != varied)
            return autoencoder_losses.reconstruction_loss(
                kind, autoencoder_losses.scaled(network, varied), said[0], weight
            )
        return loss(said, wanted if varied is None else varied)

    return of_all


def _detector(config: Config, network: nn.Module, shape: tuple[int, ...]) -> Detector:
    large = config.is_large(shape)
    scores = _chosen(config, scores_of(shape, config.latent, config.kind == "vae", large))
    if len(shape) == 2:
        return Detector(network, ChannelError(shape[1]), scores)
    sigma = config.smooth if config.smooth is not None else (8.0 if large else 1.0)
    power = SURELY if config.judged(large) == "cross-entropy" else 2
    return Detector(network, PixelError(sigma, 4 if large and sigma >= 4 else 1, power), scores)


def _chosen(config: Config, scores: dict[str, nn.Module]) -> dict[str, nn.Module]:
    if unknown := [name for name in config.scores if name not in scores]:
        raise WrongOption(
            f"--scores: got {unknown[0]!r}, wanted some of {', '.join(scores)}, the scores that "
            "suit these data."
        )
    usual = tuple(name for name in scores if name not in ASKED_FOR)
    return {name: scores[name] for name in config.scores or usual}


def fit_scores(detector: Detector, train: Rows, held: Rows) -> None:
    """Learn what is usual: codes of training rows, errors and scores of held rows."""
    detector.eval()
    for score in detector.parts.values():
        if isinstance(score, Level):
            score.fit(torch.cat([seen.row.mean(dim=1) for seen in _seen(detector, train)]))
        elif isinstance(score, Mahalanobis):
            score.fit(torch.cat([seen.code for seen in _seen(detector, train)]))
        elif isinstance(score, Shift):
            score.fit(torch.cat([seen.row for seen in _seen(detector, train)]))
        if isinstance(score, NegativeElbo):
            score.fit(*_rows(detector, held))
    if isinstance(detector.error, ChannelError):
        detector.error.fit(*_rows(detector, held))
    parts = torch.cat([detector.scores(seen) for seen in _seen(detector, held)])
    detector.combination.fit(parts)


def _rows(detector: Detector, rows: Rows) -> tuple[Tensor, Tensor]:
    seen = list(_seen(detector, rows))
    return torch.cat([one.row for one in seen]), torch.cat([one.reconstruction for one in seen])


def _seen(detector: Detector, rows: Rows) -> Any:
    """What the scores look at, some rows at a time."""
    size = max(1, TOGETHER // rows[0].size)
    for start in range(0, len(rows), size):
        with torch.inference_mode(), one_thread():
            yield detector.seen(torch.from_numpy(rows[start : start + size]))
