"""What would have to change: the nearest state along one feature in which another action is taken.

Unlike LIME's weights these are no estimate: the policy itself was asked about every state.
Source: Wachter, Mittelstadt and Russell 2017, arXiv:1711.00399, here along one feature at a time,
which is how a person can check it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from service.explain.evidence import NativeEvidence
from service.explain.legend import number
from service.policy import Policy, StateFeature

#: (n, D) states to (n,) numbers of the actions taken.
Decide = Callable[[NDArray[np.float32]], NDArray[np.int64]]
#: States tried of each feature, and how often what lies between two is looked at more closely.
TRIED, ROUNDS, CLOSER = 129, 2, 33
NAME: Final = "counterfactual"
#: Whole numbers from here on are written with an exponent.
_WHOLE = 1e6


@dataclass(frozen=True, slots=True)
class Change:
    """One feature that another value would have changed the action.

    `distance` is in widths of what training saw of the feature, `action` the one then taken.
    """

    feature: str
    unit: str | None
    before: float
    after: float
    distance: float
    action: str

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        return {
            "feature": self.feature, "unit": self.unit, "from": self.before, "to": self.after,
            "distance": self.distance, "action": self.action,
        }  # fmt: skip

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Change:
        """What `to_json` gave."""
        return cls(
            said["feature"], said["unit"], said["from"], said["to"], said["distance"],
            said["action"],
        )  # fmt: skip

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.feature} {plain(self.after)}{unit} instead of {plain(self.before)}{unit}: "
            f"{self.action}"
        )


def plain(value: float) -> str:
    """A value of a feature: whole numbers are levels and counts, and are written as such."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < _WHOLE else number(value)


@dataclass(frozen=True, slots=True)
class Counterfactuals(NativeEvidence):
    """Changes, the nearest first; `values` has (feature, before, after, action) of each."""

    changes: tuple[Change, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What it is, and the changes themselves: they are few, and what people ask for."""
        # Not super(): slots make a new class, which the compiler's __class__ cell is not.
        said = NativeEvidence.to_json(self)
        return {**said, "changes": [one.to_json() for one in self.changes]}


def counterfactuals(state: NDArray[np.float32], policy: Policy, decide: Decide) -> Counterfactuals:
    """Look along each feature, within what training saw, for the nearest other action.

    Args:
        state: (D,).
        policy: whose features and actions these are.
        decide: the policy itself, its mask and noise held as they were; it must decide each
            state by itself.
    """
    taken = int(decide(state[None])[0])
    lines = [_line(float(state[at]), one) for at, one in enumerate(policy.features)]
    found: dict[int, tuple[float, float, int]] = {}  # feature: same side, other side, action
    for at, (line, actions) in enumerate(zip(lines, _along(state, lines, decide), strict=True)):
        other = np.flatnonzero(actions != taken)
        if len(other):
            nearest = int(other[np.argmin(np.abs(line[other] - state[at]))])
            found[at] = (_before(line, nearest, float(state[at])), float(line[nearest]),
                         int(actions[nearest]))  # fmt: skip
    for _ in range(ROUNDS):
        found = _closer(state, policy, found, taken, decide)
    changes, rows = [], []
    for at, (_, after, action) in found.items():
        feature, before = policy.features[at], float(state[at])
        width = feature.trained_high - feature.trained_low or 1.0
        changes.append(
            Change(feature.name, feature.unit, before, after, abs(after - before) / width,
                   policy.actions[action])
        )  # fmt: skip
        rows.append((at, before, after, action))
    order = sorted(range(len(changes)), key=lambda at: changes[at].distance)
    values = np.array([rows[at] for at in order], np.float64).reshape(-1, 4)
    return Counterfactuals(NAME, NAME, values, changes=tuple(changes[at] for at in order))


def _line(value: float, feature: StateFeature) -> NDArray[np.float32]:
    """The values that are tried, the state's own among them, rising."""
    low, high = feature.trained_low, feature.trained_high
    if feature.whole:
        grid = np.unique(np.rint(np.linspace(low, high, TRIED)))
    else:
        grid = np.linspace(low, high, TRIED)
    return np.unique(np.append(grid, value).astype(np.float32))


def _along(
    state: NDArray[np.float32], lines: Sequence[NDArray[np.float32]], decide: Decide
) -> list[NDArray[np.int64]]:
    """The action taken at each value of each feature, the others as they are; one batch."""
    if not lines:
        return []
    states = np.repeat(state[None], sum(map(len, lines)), axis=0)
    start = 0
    for at, line in enumerate(lines):
        states[start : start + len(line), at] = line
        start += len(line)
    return np.split(decide(states), np.cumsum([len(line) for line in lines])[:-1])


def _before(line: NDArray[np.float32], nearest: int, own: float) -> float:
    """The value tried just before, on the way from the state's own."""
    return float(line[nearest - 1] if line[nearest] > own else line[nearest + 1])


def _closer(
    state: NDArray[np.float32],
    policy: Policy,
    found: Mapping[int, tuple[float, float, int]],
    taken: int,
    decide: Decide,
) -> dict[int, tuple[float, float, int]]:
    """Between the last value with this action and the first with another one, look again."""
    closer = dict(found)
    features = [at for at in found if not policy.features[at].whole]
    lines = [np.linspace(*found[at][:2], CLOSER, dtype=np.float32) for at in features]
    whole = [np.full(1, state[at], np.float32) for at in range(len(state))]
    for at, line in zip(features, lines, strict=True):
        whole[at] = line
    answers = _along(state, whole, decide)
    for at, line in zip(features, lines, strict=True):
        first = int(np.argmax(answers[at] != taken))
        if first:
            closer[at] = (float(line[first - 1]), float(line[first]), int(answers[at][first]))
    return closer


def told(changes: Sequence[Change]) -> Markup:
    """The changes as a table, the nearest first."""
    if not changes:
        return Markup("<p>No other value of one feature alone, of those that training saw, would "
                      "have changed the action.</p>")  # fmt: skip
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{} → {}{}</td></tr>").format(
            one.feature, plain(one.before), plain(one.after),
            f" {one.unit}: {one.action}" if one.unit else f": {one.action}",
        )
        for one in changes
    )  # fmt: skip
    return Markup('<table class="values">{}</table>').format(rows)
