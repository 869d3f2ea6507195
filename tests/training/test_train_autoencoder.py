"""Autoencoders learn what is normal; losses by hand; what makes no sense is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.anomaly import Detector
from models.anomaly_scores import Seen, Shift
from models.autoencoder import Autoencoder
from models.autoencoder_boards import BoardAutoencoder
from service.anomaly import conformal
from service.anomaly.reference import reference
from service.errors import CalibrationError
from service.inference.registry import Registry
from service.store import ModelStore
from service.streaming.scoring import Scorer
from service.tasks.anomaly import AnomalyDetector
from training import autoencoder_losses, damage, train_autoencoder
from training.autoencoder_candidate import candidate_of
from training.autoencoder_config import Config
from training.data import digits, one_class_sources
from training.data.one_class import of_pictures
from training.options import AUTOENCODER, WrongOption
from training.release import release
from training.train_autoencoder import learn, main

QUIET = Console(quiet=True)
TINY = replace(AUTOENCODER, epochs=6)


def squares(rows: int, side: int = 32, broken: bool = False, seed: int = 0) -> np.ndarray:
    """White squares on black, somewhere; broken ones have a dark hole. (n, 1, side, side)."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((rows, 1, side, side), np.uint8)
    for picture in pictures:
        y, x = random.integers(2, side - side // 2 - 2, 2)
        picture[0, y : y + side // 2, x : x + side // 2] = 255
        if broken:
            hole = side // 6
            y, x = (at + side // 4 - hole // 2 for at in (y, x))
            picture[0, y : y + hole, x : x + hole] = 0
    return pictures


@pytest.mark.slow
def test_a_denoising_autoencoder_of_large_pictures_sees_holes_where_they_are() -> None:
    train, held = squares(24, 128), squares(4, 128, seed=1)
    config = Config(kind="denoising", latent=4, units=16, patch=64,
                    options=replace(AUTOENCODER, epochs=30, batch_size=8))  # fmt: skip
    detector, _ = learn(config, train, held)
    assert isinstance(detector.network, BoardAutoencoder)
    tested = np.concatenate([squares(8, 128, seed=2), squares(8, 128, True, seed=2)])
    with torch.inference_mode():
        score, error, *_ = detector.eval()(torch.from_numpy(tested))
    wrong = np.arange(16) >= 8
    assert roc_auc_score(wrong, score[:, 0]) > 0.7
    holes = tested[8:, 0] != tested[:8, 0]
    assert roc_auc_score(holes.ravel(), error[8:].numpy().ravel()) > 0.9


def test_the_same_seed_gives_the_same_scores() -> None:
    data = of_pictures(digits.load(), "0")
    config = Config(kind="dense", options=replace(TINY, epochs=2))
    scores = []
    for _ in range(2):
        detector, _ = learn(config, data.train, data.held)
        with torch.inference_mode():
            scores.append(detector.eval()(torch.from_numpy(data.test[:10]))[0])
    assert torch.equal(*scores)


@pytest.mark.parametrize(
    ("words", "shape", "message"),
    [
        ({"kind": "vae"}, (1, 128, 128), r"--kind: got vae, whose code is one vector"),
        ({"kind": "lstm"}, (1, 32, 32), "lstm reads windows"),
        ({"loss": "ssim"}, (30, 8), "--loss: got ssim, which is of pictures"),
        ({"augment": "turns"}, (30, 8), "--augment: got turns, which is of pictures"),
        ({}, (1, 8, 8), "--size: got 8, wanted at least 16"),
    ],
)
def test_what_does_not_suit_the_rows_is_refused(
    words: dict[str, str], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(WrongOption, match=message):
        Config(**words).check(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kind": "vae", "loss": "l2"}, "a vae has its own, its likelihood"),
        ({"events_per_hour": 1.0}, "got one of them, wanted both"),
        ({"events_per_hour": 9.0, "rows_per_hour": 9.0}, "wanted less than the 9"),
        ({"kind": "gan"}, "wanted one of dense, conv, lstm, sparse, denoising, vae"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    words: dict[str, object], message: str
) -> None:
    with pytest.raises(WrongOption, match=message):
        Config(**words)  # type: ignore[arg-type]


def test_too_few_rows_for_the_budget_are_told_of_before_training(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="for a budget of 0.001, wanted at least 999"):
        main(Config(budget=0.001), ModelStore(tmp_path), QUIET)


def test_a_divergence_that_is_annealed_counts_more_and_more() -> None:
    config = Config(kind="vae", latent=3, units=4)
    network = train_autoencoder.network_of(config, squares(4, 16))
    assert isinstance(network, Autoencoder)
    loss = autoencoder_losses.variational(network, annealed=10)
    rows = torch.from_numpy(squares(4, 16))
    answer = (network.scaling(rows) * 0.5, torch.ones(4, 3), torch.zeros(4, 3))
    found = []
    for updates in (0, 5, 10, 20):
        network.updates.fill_(updates)
        found.append(float(loss(answer, rows)))
    # A divergence of 3 x 0.5 nats over 256 pixels, in full after ten updates.
    assert found[1] - found[0] == pytest.approx(0.5 * 1.5 / 256, abs=1e-6)
    assert found[2] - found[0] == pytest.approx(1.5 / 256, abs=1e-6)
    assert found[3] == found[2]
    network.eval()
    network.updates.zero_()
    assert float(loss(answer, rows)) == found[2]


def test_a_sparse_code_costs_what_two_coins_differ_by() -> None:
    config = Config(kind="sparse", latent=2, units=4)
    network = train_autoencoder.network_of(config, squares(4, 16))
    rows = torch.from_numpy(squares(4, 16))
    right = network.scaling(rows)  # type: ignore[operator]
    loss = autoencoder_losses.sparse(network, "l2", active=0.1, weight=1.0)
    assert float(loss((right, torch.full((4, 2), 0.1)), rows)) == pytest.approx(0, abs=1e-6)
    # 0.1 ln(0.1 / 0.5) + 0.9 ln(0.9 / 0.5)
    assert float(loss((right, torch.full((4, 2), 0.5)), rows)) == pytest.approx(0.36806, abs=1e-4)


def test_damage_leaves_shape_and_range_and_changes_something() -> None:
    torch.manual_seed(0)
    pictures = torch.from_numpy(squares(16, 96))
    drawn = damage.Strokes()(pictures)
    changed = (drawn != pictures).flatten(1).float().mean(dim=1)
    assert drawn.dtype == torch.uint8
    assert set(drawn.unique().tolist()) == {0, 255}
    assert (changed > 0).sum() >= 8
    assert 0.001 < float(changed.mean()) < 0.2
    noisy = damage.noisy(pictures)
    assert ((noisy >= 0) & (noisy <= 255)).all()
    windows = torch.randn(5, 20, 3)
    spoiled = damage.dropped_out(windows, torch.full((3,), 7.0), torch.ones(3), noise=0.0)
    hidden = spoiled == 7.0
    assert (hidden.sum(dim=(1, 2)) == 5).all()
    assert torch.equal(spoiled[~hidden], windows[~hidden])


def test_a_detector_names_its_scores() -> None:
    data = of_pictures(digits.load(), "0")
    detector, _ = learn(Config(kind="vae", options=replace(TINY, epochs=1)), data.train, data.held)
    assert isinstance(detector, Detector)
    assert detector.names == ("pixel", "ssim", "multiscale", "mahalanobis", "elbo")


def test_scores_are_those_that_were_asked_for() -> None:
    data = one_class_sources.load(Config(kind="dense", data="power-demand", window=12), QUIET)
    config = Config(kind="dense", scores=("level", "window"), options=replace(TINY, epochs=1))
    detector, _ = learn(config, data.train, data.held)
    assert detector.names == ("level", "window")
    with pytest.raises(WrongOption, match=r"'ssim', wanted some of window, last, level, shift, "):
        learn(replace(config, scores=("ssim",)), data.train, data.held)


def test_the_shift_of_a_window_sees_a_step_and_no_slow_drift() -> None:
    random = np.random.default_rng(0)
    noise = torch.from_numpy(random.normal(size=(400, 30, 2))).float()
    score = Shift(2, 30)
    score.fit(noise[:300])

    def shifts(windows: Tensor) -> Tensor:
        nothing = torch.empty(0)
        return score(Seen(windows, nothing, nothing, nothing))

    still = shifts(noise[300:])
    assert still.shape == (100, 1)
    lower = noise[300:] - torch.tensor([50.0, 0.0])
    assert torch.allclose(shifts(lower), still, atol=1e-4)
    step = noise[300:].clone()
    step[:, -5:, 1] -= 3
    assert (shifts(step) > still.max()).float().mean() > 0.9
    # Over thirty steps as much as the noise has: the means are 15 steps of 30 apart.
    drifting = noise[300:] + torch.linspace(0, 0.2, 30)[:, None]
    assert (shifts(drifting) > still.quantile(0.99)).float().mean() < 0.1


@pytest.mark.slow
def test_a_detector_of_steps_names_the_sensor_that_moved(tmp_path: Path) -> None:
    table = tmp_path / "pump.csv"
    noise = np.random.default_rng(0).normal(size=(600, 3))
    table.write_text("flow,heat,noise\n" + "".join(f"{a},{b},{c}\n" for a, b, c in noise))
    config = Config(kind="dense", data=str(table), window=12, name="steps",
                    scores=("shift",), options=replace(TINY, epochs=1))  # fmt: skip
    data = one_class_sources.load(config, QUIET)
    detector, fitted = learn(config, data.train, data.held)
    candidate = replace(candidate_of(config, data, detector, fitted), sanity=(0, 0), mistakes=0)
    release(candidate, store := ModelStore(tmp_path))
    scorer = Scorer(Registry(store, "cpu", threads=1, serves=False).get("steps"))
    step = data.test[0].copy()
    step[-2:, 1] += 10
    score, evidence = scorer.score([data.test[0], step])
    assert score[1] > score[0]
    assert evidence is not None
    assert evidence.shape == (2, 3)
    assert evidence[1].argmax() == 1
    answer = AnomalyDetector(store.get("steps")).answer(
        scorer.model.predict({"window": step[None]})
    )
    assert answer["contributors"][0, 0] == "heat"


def test_p_values_of_fresh_normal_windows_are_even() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(4, 4))
    swinging = np.cumsum(random.normal(size=(4300, 12, 4)), axis=1) @ mixing
    windows = (swinging + random.normal(size=swinging.shape)).astype(np.float32)
    config = Config(kind="dense", latent=3, units=4, scores=("window", "level"),
                    options=replace(TINY, epochs=2))  # fmt: skip
    detector, _ = learn(config, windows[:200], windows[200:300])
    with torch.inference_mode():
        scores = detector(torch.from_numpy(windows[300:]))[0].numpy()
    known, fresh = reference(scores[:2000]), scores[2000:, 0]
    found = conformal.p_values(known, fresh)
    # Both samples waver: two standard errors of a share among 2,000, of both.
    for rate in (0.01, 0.05, 0.25, 0.5, 0.9):
        assert abs(np.mean(found <= rate) - rate) < 2 * np.sqrt(2 * rate * (1 - rate) / 2000)
