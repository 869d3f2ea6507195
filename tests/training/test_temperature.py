"""A temperature makes a classifier as sure as it has the right to be, and changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.blocks import Tempered
from models.mlp import Sigmoid, Softmax
from training.temperature import HIGHEST, before, fitted_temperature


def softmax(logits: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    random = np.random.default_rng(0)
    honest = softmax(random.normal(0, 2, size=(4000, 4)))
    truth = np.array([random.choice(4, p=row) for row in honest])
    too_sure = softmax(np.log(honest) * temperature)
    assert fitted_temperature(too_sure, truth) == pytest.approx(temperature, rel=0.08)


def test_a_few_rows_that_are_all_right_do_not_make_it_certain() -> None:
    said = np.tile([0.9, 0.1], (36, 1))
    temperature = fitted_temperature(said, np.zeros(36, np.int64))
    # 37 of 38, and no more: what so many rows can show.
    surest = softmax(np.log(said) / temperature)[0, 0]
    assert surest == pytest.approx(37 / 38, abs=1e-3)


def test_one_that_knows_nothing_is_told_to_doubt() -> None:
    random = np.random.default_rng(1)
    said = softmax(random.normal(0, 30, size=(500, 3)))
    assert fitted_temperature(said, random.integers(3, size=500)) > 0.8 * HIGHEST


def test_dividing_behind_a_softmax_is_dividing_the_logits() -> None:
    logits = torch.randn(50, 6) * 5
    wanted = torch.softmax(logits / 2.5, dim=1)
    torch.testing.assert_close(Tempered(Softmax(nn.Identity()), 2.5)(logits), wanted)
    torch.testing.assert_close(Softmax(nn.Identity(), 2.5)(logits), wanted)
    logit = torch.randn(50, 1) * 5
    torch.testing.assert_close(
        Sigmoid(nn.Identity(), 2.5)(logit)[:, 1:], torch.sigmoid(logit / 2.5)
    )


def test_other_outputs_are_left_alone() -> None:
    class Attending(nn.Module):
        def forward(self, row: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            return torch.softmax(row, dim=1), other

    row, other = torch.randn(3, 4), torch.randn(3, 9)
    first, second = Tempered(Attending(), 2.0)(row, other)
    torch.testing.assert_close(first, torch.softmax(row / 2, dim=1))
    assert second is other


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_what_it_said_before_is_known_from_what_it_says(temperature: float) -> None:
    honest = softmax(np.random.default_rng(2).normal(size=(20, 5)))
    divided = softmax(np.log(honest) / temperature)
    np.testing.assert_allclose(before(divided, temperature), honest, rtol=1e-9)
    np.testing.assert_array_equal(divided.argmax(axis=1), honest.argmax(axis=1))
