"""Autoencoders: shapes, what a code is, the divergence and SSIM by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from skimage.metrics import structural_similarity

from models import anomaly, autoencoder
from models.anomaly import Combination, Detector, PixelError
from models.anomaly_scores import Level, Mahalanobis, Seen, divergence, scores_of, ssim
from models.autoencoder import AutoencoderConfig
from models.autoencoder_boards import BoardAutoencoder, BoardConfig
from training.export import export


def pictures(rows: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (rows, 1, side, side), np.uint8)
    )


def windows(rows: int, steps: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).normal(50, 5, (rows, steps, 3)).astype(np.float32)
    )


def detector(body: str, coding: str, windowed: bool) -> Detector:
    torch.manual_seed(0)
    shape = (12, 3) if windowed else (1, 16, 16)
    config = AutoencoderConfig(shape, body, coding, latent=4, units=8)  # type: ignore[arg-type]
    network = (
        autoencoder.of_windows(config, [50.0] * 3, [5.0] * 3)
        if windowed
        else autoencoder.of_pictures(config)
    )
    error = anomaly.ChannelError(3) if windowed else PixelError(1.0)
    return Detector(network, error, scores_of(shape, 4, coding == "variational", False))


@pytest.mark.parametrize(
    ("body", "coding", "windowed"),
    [
        ("dense", "plain", False),
        ("dense", "sparse", False),
        ("conv", "variational", False),
        ("dense", "plain", True),
        ("conv", "variational", True),
        ("lstm", "plain", True),
    ],
)
def test_every_body_answers_with_the_outputs_of_a_detector(
    body: str, coding: str, windowed: bool, tmp_path: Path
) -> None:
    network = detector(body, coding, windowed).eval()
    rows = windows(5) if windowed else pictures(5)
    answers = network(rows)
    score, error, reconstruction, code, parts, *shift = answers
    assert score.shape == (5, 1)
    assert error.shape == ((5, 12, 3) if windowed else (5, 16, 16))
    assert reconstruction.shape == rows.shape
    assert code.shape == (5, 4)
    assert parts.shape == (5, len(network.names))
    assert [one.shape for one in shift] == ([(5, 3)] if windowed else [])
    graph = tmp_path / "graph.onnx"
    names = ["score", "error", "reconstruction", "latent", "parts"] + ["shift"] * windowed
    exporter = "torchscript" if body == "lstm" else "dynamo"
    export(network, {"row": rows[:2].numpy()}, names, graph, exporter=exporter)  # type: ignore[arg-type]
    got = ort.InferenceSession(str(graph)).run(names, {"row": rows.numpy()})
    for one, other in zip(got, answers, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-4, rtol=1e-5)


def test_a_sparse_code_lies_between_0_and_1() -> None:
    code = detector("dense", "sparse", False).network(pictures(5))[1]  # type: ignore[operator]
    assert ((code > 0) & (code < 1)).all()


def test_a_variational_code_is_drawn_in_training_alone() -> None:
    network = detector("conv", "variational", False).network
    rows = pictures(6)
    network.train()
    assert not torch.equal(network(rows)[0], network(rows)[0])  # type: ignore[operator]
    assert network.updates == 2
    network.eval()
    assert torch.equal(network(rows)[0], network(rows)[0])  # type: ignore[operator]
    assert network.updates == 2


def test_a_generator_draws_pictures_from_noise() -> None:
    network = detector("conv", "variational", False).network.eval()
    assert isinstance(network, autoencoder.Autoencoder)
    drawn = autoencoder.Generator(network)(torch.randn(3, 4))
    assert drawn.shape == (3, 1, 16, 16)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_a_board_of_any_size_comes_back_as_large_as_it_was() -> None:
    network = BoardAutoencoder(BoardConfig(widths=(4, 8), latent=5)).eval()
    for side in (16, 24):
        reconstruction, code = network(pictures(2, side))
        assert reconstruction.shape == (2, 1, side, side)
        assert code.shape == (2, 5)


@pytest.mark.parametrize(
    ("mean", "log_variance", "nats"),  # 0.5 * sum(exp(l) + m^2 - 1 - l), by hand
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, -2.0], [0.0, 0.0], 2.5),
        ([0.0], [1.0], 0.35914091),  # (e - 2) / 2
        ([3.0], [-1.0], 4.68393972),  # (1/e + 9 - 1 + 1) / 2
    ],
)
def test_divergence_matches_values_worked_by_hand(
    mean: list[float], log_variance: list[float], nats: float
) -> None:
    found = divergence(torch.tensor([mean]), torch.tensor([log_variance]))
    assert float(found) == pytest.approx(nats, abs=1e-6)


def test_divergence_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(7, 5), torch.randn(7, 5)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(torch.zeros(5), torch.ones(5))
    ).sum(dim=1)
    torch.testing.assert_close(divergence(mean, log_variance), wanted)


def test_ssim_is_that_of_scikit_image() -> None:
    one = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    other = np.clip(one + np.random.default_rng(1).normal(0, 0.2, one.shape), 0, 1)
    _, full = structural_similarity(
        one, other.astype(np.float32), win_size=7, data_range=1.0, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    both = (torch.from_numpy(x.astype(np.float32))[None, None] for x in (one, other))
    np.testing.assert_allclose(ssim(*both)[0, 0], full[3:-3, 3:-3], atol=1e-4)


def test_mahalanobis_distance_grows_least_along_what_varies_most() -> None:
    codes = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3, 1])
    distance = Mahalanobis(2, shrink=0.0)
    distance.fit(codes)
    at = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    seen = Seen(at, at, at, at)
    assert distance(seen).flatten().tolist() == pytest.approx([1.0, 9.0], rel=0.1)


def test_level_is_the_distance_of_the_means_and_not_of_what_is_around_them() -> None:
    levels = torch.randn(4000, 1, 2, generator=torch.Generator().manual_seed(0))
    usual = levels.expand(-1, 8, -1)
    level = Level(2, shrink=0.0)
    level.fit(usual.mean(dim=1))
    swinging = torch.tensor([5.0, -5.0]).repeat(4).view(1, 8, 1).expand(-1, -1, 2)
    windows = torch.cat([swinging, torch.full((1, 8, 2), 3.0)])
    # Whether it was reconstructed says nothing: here all of it was.
    seen = Seen(windows, windows, torch.zeros_like(windows), torch.zeros(2, 1))
    assert level(seen).flatten().tolist() == pytest.approx([0.0, 18.0], rel=0.1, abs=0.01)


def test_no_score_outweighs_another_by_its_unit() -> None:
    parts = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    plain, scaled = Combination(2), Combination(2)
    plain.fit(parts)
    scaled.fit(parts * torch.tensor([1.0, 1000.0]))
    torch.testing.assert_close(
        plain(parts), scaled(parts * torch.tensor([1.0, 1000.0])), atol=1e-4, rtol=1e-4
    )
    assert float(plain(parts).mean()) == pytest.approx(0, abs=1e-4)


def test_a_dot_of_error_is_smoothed_into_a_spot_of_the_same_mass() -> None:
    row = torch.zeros(1, 1, 32, 32)
    row[..., 16, 16] = 1
    for error in (PixelError(2.0), PixelError(4.0, shrink=2)):
        spot = error(row, torch.zeros_like(row))
        assert float(spot.sum()) == pytest.approx(1, rel=0.02)
        assert 0.005 < float(spot.max()) < 0.05
