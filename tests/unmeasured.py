"""What a manifest says of a model that was built by hand: nobody trained or measured it."""

from __future__ import annotations

from service.manifest import Parity, Provenance

PARITY = Parity(rows=1, max_abs_difference=0.0, label_flips=0, tolerance=1e-5)
PROVENANCE = Provenance(
    script="none", config={}, seed=0, git_revision="none", trained_at="2026-01-01T00:00:00Z",
    seconds=0, data={}, libraries={}, environment={},
)  # fmt: skip
