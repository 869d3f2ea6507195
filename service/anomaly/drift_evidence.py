"""What shows a drift: each signal before and after its change, and both tests of it.

All of it follows from a stream's state, so that whoever asks again is told the same. The tests are
made anew here: the blocks that found a change may be forgotten by now, and more have come since.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.change import FEWEST, KS_NEWEST, allowed, chance, distances
from service.anomaly.drift import DELTA, LEARNT, NOW, Drift


def measured(drift: Drift) -> dict[str, Any]:
    """Every signal as it was and as it is, as JSON values.

    Returns:
        `blocks` that have come, `block_rows` in each, `blocks_to_learn` for a reference;
        `false_change`, the chance of one, a block, over all signals; `evidence`: by signal its
        `reference` (mean and spread) and where it is `now` (median of the last blocks), in its own
        unit and in spreads; and where a change was found what was before and after it, see
        `_compared`. Nothing of a signal while the reference is being learnt.
    """
    _, spreads = drift.history()
    said: dict[str, Any] = {
        "blocks": drift.blocks,
        "block_rows": drift.block,
        "blocks_to_learn": LEARNT,
        "false_change": DELTA,
        "evidence": {},
    }
    if not drift.learnt or not len(drift.means):
        return said
    first = drift.blocks - len(drift.means)
    for at, name in enumerate(drift.names):
        mean, spread = drift.reference[:, at].tolist()
        one: dict[str, Any] = {
            "reference": {"mean": _short(mean), "spread": _short(spread)},
            "now": _short(float(np.median(drift.means[-NOW:, at]))),
            "spreads": round(float(np.median(spreads[-NOW:, at])), 3),
        }
        if drift.found_by[at]:
            change = max(0, drift.since[at] - first)
            one |= _compared(spreads[:, at], change, mean, spread, DELTA / len(drift.names))
        said["evidence"][name] = one
    return said


def _compared(
    values: NDArray[np.float64], change: int, mean: float, spread: float, delta: float
) -> dict[str, Any]:
    """Two parts of a signal's blocks, in spreads from its reference, before and after a change.

    Returns:
        `before` and `after`: mean in the signal's unit, and blocks; and, with blocks enough on
        both sides, `adwin`: how far the means are apart and how far chance would let them be, in
        spreads; `kswin`: the largest distance of both distributions, over how many of the blocks
        nearest to the change before it and the newest, and the chance of one so large.
    """
    older, newer = values[:change], values[change:]
    parts = {"before": older, "after": newer}
    said: dict[str, Any] = {
        name: {"mean": _short(mean + spread * float(part.mean())), "blocks": len(part)}
        for name, part in parts.items()
        if len(part)
    }
    if min(len(older), len(newer)) < FEWEST:
        return said
    apart = abs(float(older.mean() - newer.mean()))
    bound = allowed(len(older), len(newer), len(values), float(values.var()), delta)
    n = min(KS_NEWEST, len(older), len(newer))
    distance = float(distances(older[-n:, None], newer[-n:, None])[0])
    return said | {
        "adwin": {"apart": round(apart, 3), "by_chance": round(float(bound), 3)},
        "kswin": {
            "distance": round(distance, 3), "blocks": n,
            "chance": _short(chance(n, round(distance * n))),
        },
    }  # fmt: skip


def _short(value: float) -> float:
    """Six digits: more would be of no use, and none of them is left out of small values."""
    return float(f"{value:.6g}")
