"""A duel learns, repeats itself exactly, goes on where it stopped, and says how it went."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from models.gan import Discriminator, GanConfig, Generator
from service.errors import GlasslineError
from service.tasks.generate import drawn_noise, grey_levels
from training.adversarial import (
    Duel,
    Fought,
    discriminator_loss,
    fight,
    generator_loss,
    moved,
)
from training.balance_curve import balance_curve
from training.frechet import frechet_distance, gaussian_of
from training.options import GAN, Options, WrongOption
from training.provenance import weights_digest

NOISE, SIDE = 4, 16


def halves(rows: int = 64) -> NDArray[np.uint8]:
    """Pictures of two kinds: their upper half is bright, or their left one."""
    pictures = np.full((rows, 1, SIDE, SIDE), 30, np.uint8)
    pictures[0::2, :, : SIDE // 2] = 220
    pictures[1::2, :, :, : SIDE // 2] = 220
    return pictures


def quarters(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of each quarter of a picture, (n, 4), black 0 and white 1."""
    cut = pictures.reshape(-1, 2, SIDE // 2, 2, SIDE // 2)
    return cut.mean(axis=(2, 4)).reshape(-1, 4) / 255


def duel(options: Options, **sizes: Any) -> Duel:
    torch.manual_seed(options.seed)
    shape = GanConfig(noise=NOISE, size=SIDE, maps=4, **sizes)
    real = gaussian_of(quarters(halves()))

    def judge(pictures: NDArray[np.uint8]) -> float:
        return frechet_distance(gaussian_of(quarters(pictures)), real)

    def as_they_are(pictures: Tensor) -> Tensor:
        return pictures

    return Duel(Generator(shape), Discriminator(shape), NOISE, options, 0.9, 0, as_they_are, judge)


def fought(options: Options, **sizes: Any) -> tuple[Duel, Fought]:
    one = duel(options, **sizes)
    pictures, noise = torch.from_numpy(halves()), torch.from_numpy(drawn_noise(0, 64, NOISE))
    told = (torch.arange(64) % 2,) if sizes.get("classes") else ()
    console = Console(file=io.StringIO())
    return one, fight(one, (pictures, *told), (noise, *told), "toy", console)


def options_of(**changes: Any) -> Options:
    return dataclasses.replace(
        GAN, epochs=2, batch_size=16, learning_rate=5e-3, device="cpu", **changes
    )


@pytest.mark.slow
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_it_learns_both_kinds_of_a_toy(spectral_norm: bool) -> None:
    options = dataclasses.replace(options_of(), epochs=90)
    one, found = fought(options, spectral_norm=spectral_norm)
    distances = [each.distance for each in found.rounds]
    assert found.best == int(np.argmin(distances))
    assert distances[found.best] < 0.1 * distances[0], distances
    with torch.inference_mode():
        made = one.network.eval()(torch.from_numpy(drawn_noise(9, 100, NOISE))).numpy()
    means = quarters(grey_levels(made))
    upper = (means[:, 1] > means[:, 2]).mean()
    assert 0.15 < upper < 0.85, "both kinds are drawn"


def test_a_conditional_one_draws_what_it_is_told() -> None:
    one, _ = fought(dataclasses.replace(options_of(), epochs=60), classes=2)
    noise, label = torch.from_numpy(drawn_noise(9, 100, NOISE)), torch.arange(100) % 2
    with torch.inference_mode():
        means = quarters(grey_levels(one.network.eval()(noise, label).numpy()))
    # kind 0 is bright above on the right, kind 1 below on the left
    right = (means[:, 1] > means[:, 2]) == (label.numpy() == 0)
    assert right.mean() > 0.95


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (fought(options_of(seed=seed))[0].network for seed in (3, 3, 4))
    assert weights_digest(first) == weights_digest(second)
    assert weights_digest(first) != weights_digest(other)


def test_training_goes_on_where_it_stopped_bit_for_bit(tmp_path: Path) -> None:
    kept = str(tmp_path / "duel.ckpt")
    whole, told = fought(dataclasses.replace(options_of(), epochs=4))
    # A run that was killed after two epochs leaves the checkpoint of the second.
    stopped = duel(dataclasses.replace(options_of(), epochs=4, checkpoint=kept))
    stopped.judge = killed_after(2, stopped.judge)
    with pytest.raises(Killed):
        fight(
            stopped, (torch.from_numpy(halves()),),
            (torch.from_numpy(drawn_noise(0, 64, NOISE)),), "toy", Console(file=io.StringIO()),
        )  # fmt: skip
    resumed, said = fought(dataclasses.replace(options_of(), epochs=4, resume=kept))
    assert weights_digest(resumed.network) == weights_digest(whole.network)
    assert said.rounds == told.rounds
    with pytest.raises(WrongOption, match="was made with --learning-rate"):
        fought(dataclasses.replace(options_of(), epochs=4, resume=kept, learning_rate=1e-3))
    with pytest.raises(WrongOption, match="of another network"):
        fought(dataclasses.replace(options_of(), epochs=4, resume=kept), classes=2)


class Killed(Exception):
    pass


def killed_after(epochs: int, judge: Any) -> Any:
    """A judge that is not there any more after so many epochs."""
    calls = iter(range(100))

    def judged(pictures: NDArray[np.uint8]) -> float:
        if next(calls) >= epochs:
            raise Killed
        return judge(pictures)

    return judged


def test_losses_are_those_of_the_paper_worked_by_hand() -> None:
    # D(x) = 1/2, D(G(z)) = 1/2: log 4 and log 2; a logit of ln 3 is a probability of 3/4.
    none = torch.zeros(3)
    assert float(discriminator_loss(none, none)) == pytest.approx(math.log(4))
    assert float(generator_loss(none)) == pytest.approx(math.log(2))
    sure = torch.full((2,), math.log(3))
    assert float(discriminator_loss(sure, -sure)) == pytest.approx(-2 * math.log(0.75))
    assert float(generator_loss(sure)) == pytest.approx(-math.log(0.75))


def test_the_generators_loss_does_not_fade_where_the_discriminator_is_sure() -> None:
    logits = torch.tensor([-20.0], requires_grad=True)
    generator_loss(logits).backward()
    assert logits.grad is not None
    assert float(logits.grad) == pytest.approx(-1, abs=1e-6)


def test_pictures_are_moved_by_whole_pixels_and_gradients_come_back() -> None:
    torch.manual_seed(0)
    pictures = torch.zeros(40, 2, 8, 8)
    pictures[:, :, 4, 4] = 1.0
    pictures.requires_grad_()
    out = moved(pictures, 2)
    assert out.shape == pictures.shape
    places = [tuple(at.tolist()) for at in out.detach()[:, 0].nonzero()]
    assert {(y, x) for _, y, x in places} <= {(y, x) for y in range(2, 7) for x in range(2, 7)}
    assert len(set(places)) == 40
    assert len({(y, x) for _, y, x in places}) > 10
    out.sum().backward()
    assert pictures.grad is not None
    assert float(pictures.grad[:, :, 4, 4].min()) == 1.0
    assert moved(pictures, 0) is pictures


def test_diverging_says_what_to_change() -> None:
    one = duel(options_of())
    one.judge = lambda _: float("nan")
    pictures, noise = torch.from_numpy(halves()), torch.from_numpy(drawn_noise(0, 64, NOISE))
    with pytest.raises(GlasslineError, match="Lower --learning-rate"):
        fight(one, (pictures,), (noise,), "toy", Console(file=io.StringIO()))


def test_the_balance_is_drawn_and_a_sheet_kept_of_each_epoch(tmp_path: Path) -> None:
    one = duel(options_of())
    pictures, noise = torch.from_numpy(halves()), torch.from_numpy(drawn_noise(0, 64, NOISE))
    written = io.StringIO()
    found = fight(one, (pictures,), (noise,), "toy", Console(file=written), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0001.png", "epoch-0002.png"]
    assert "toy: epoch 2/2, validation frechet distance" in written.getvalue()
    assert all(0 <= each.right <= 1 and each.discriminator > 0 for each in found.rounds)
    assert balance_curve(found, "toy")[:4] == b"\x89PNG"
