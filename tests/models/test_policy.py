"""A policy's graph, worked by hand: two features, three actions, no network but the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.policy import Bounds, PolicyNetwork

INF = float("inf")


class Fixed(nn.Module):
    """Preferences: the first feature, the second, and their sum."""

    def forward(self, row: Tensor) -> Tensor:
        return torch.cat([row, row.sum(dim=1, keepdim=True)], dim=1)


def policy(tolerance: float = 0.0, **parts: object) -> PolicyNetwork:
    bounds = Bounds((0.0, 0.0), (4.0, 2.0), default=0, tolerance=tolerance)
    asked = {"mean": None, "variance": None, "logits": False, **parts}
    return PolicyNetwork(Fixed(), bounds=bounds, **asked).eval()  # type: ignore[arg-type]


def decide(
    network: PolicyNetwork,
    state: tuple[float, float],
    legal: tuple[int, ...] = (1, 1, 1),
    noise: tuple[float, ...] = (0, 0, 0),
) -> list[object]:
    rows = network(
        torch.tensor([state]), torch.tensor([legal], dtype=torch.bool),
        torch.tensor([noise], dtype=torch.float32),
    )  # fmt: skip
    return [one[0].tolist() for one in rows]


@pytest.mark.parametrize(
    ("state", "legal", "noise", "action"),
    [
        ((1.0, 2.0), (1, 1, 1), (0, 0, 0), 2),  # 1, 2, 3
        ((1.0, 2.0), (1, 1, 0), (0, 0, 0), 1),  # the best one is not legal
        ((1.0, 2.0), (1, 0, 0), (0, 0, 0), 0),  # nothing else is legal
        ((1.0, 2.0), (1, 1, 1), (5, 0, 0), 0),  # noise: 6, 2, 3
        ((1.0, 2.0), (0, 1, 1), (9, 0, 0), 2),  # no noise makes an illegal action legal
        ((2.0, 0.0), (1, 1, 1), (0, 0, 0), 0),  # the first of equals: 2, 0, 2
    ],
)
def test_mask_and_noise_decide_with_the_preferences(
    state: tuple[float, float], legal: tuple[int, ...], noise: tuple[float, ...], action: int
) -> None:
    preference, taken, outside, _, safe = decide(policy(), state, legal, noise)
    assert preference == [state[0], state[1], sum(state)]
    assert (taken, outside, safe) == (action, 0.0, False)


@pytest.mark.parametrize(
    ("state", "tolerance", "legal", "outside", "feature", "action", "safe"),
    [
        ((5.0, 1.0), 0.0, (1, 1, 1), 0.25, 0, 0, True),  # 1 beyond 4, in widths of 4
        ((1.0, 3.0), 0.0, (1, 1, 1), 0.5, 1, 0, True),  # 1 beyond 2, in widths of 2
        ((5.0, 3.0), 0.0, (1, 1, 1), 0.5, 1, 0, True),  # the furthest is told
        ((-2.0, 1.0), 0.0, (1, 1, 1), 0.5, 0, 0, True),  # below counts as well
        ((5.0, 1.0), 0.25, (1, 1, 1), 0.25, 0, 2, False),  # as far as is tolerated: told, not done
        ((5.0, 1.0), 0.0, (0, 1, 1), 0.25, 0, 2, False),  # the default is not legal
        ((4.0, 2.0), 0.0, (1, 1, 1), 0.0, 0, 2, False),  # the bounds themselves were seen
    ],
)
def test_a_state_unlike_training_gets_the_default(
    state: tuple[float, float], tolerance: float, legal: tuple[int, ...], outside: float,
    feature: int, action: int, safe: bool,
) -> None:  # fmt: skip
    _, taken, far, furthest, default = decide(policy(tolerance), state, legal)
    assert (taken, far, furthest, default) == (action, outside, feature, safe)


def test_observations_are_normalised_inside_and_logits_become_log_probabilities() -> None:
    network = policy(mean=[1.0, 0.0], variance=[4.0, 1.0], logits=True)
    preference, *_ = decide(network, (3.0, 2.0))
    # (3 - 1) / 2 = 1 and 2: logits 1, 2, 3.
    wanted = np.array([1.0, 2.0, 3.0]) - np.log(np.exp([1.0, 2.0, 3.0]).sum())
    np.testing.assert_allclose(preference, wanted, atol=1e-6)
    far, *_ = decide(policy(mean=[0.0, 0.0], variance=[1.0, 1.0]), (1e6, 0.0))
    assert far == [10.0, 0.0, 10.0], "cut as in training"


def test_gumbel_noise_samples_the_probabilities() -> None:
    network, rows = policy(logits=True), 20_000
    noise = np.random.default_rng(0).gumbel(size=(rows, 3)).astype(np.float32)
    state, legal = torch.tensor([[1.0, 0.5]]), torch.tensor([[True, True, True]])
    preference, taken, *_ = network(
        state.repeat(rows, 1), legal.repeat(rows, 1), torch.from_numpy(noise)
    )
    shares = np.bincount(taken.numpy(), minlength=3) / rows
    np.testing.assert_allclose(shares, np.exp(preference[0].numpy()), atol=0.015)
