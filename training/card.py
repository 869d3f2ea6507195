"""The model card: what a person reads before trusting a model."""

from __future__ import annotations

from service.manifest import Manifest


def card_of(manifest: Manifest, summary: str) -> str:
    """A model card in Markdown, every figure taken from the manifest.

    Args:
        manifest: complete but for its card.
        summary: what the model is, what it is for and what it is not for.
    """
    made, parity, media = manifest.provenance, manifest.parity, manifest.media
    metrics = [f"- {name}: {value:.6g}" for name, value in manifest.metrics.items()]
    data = [f"- {name}: {value}" for name, value in made.data.items()]
    picture = "none" if media is None else f"{media.width} x {media.height} pixels, {media.color}"
    lines = [
        f"# {manifest.name}, version {manifest.version}",
        "",
        summary,
        "",
        "## Measured",
        f"Through ONNX Runtime, on the exported graph, which computes in {manifest.precision}.",
        *metrics,
        f"- exported graph against trained network, {parity.rows} rows: largest difference of a "
        f"probability {parity.max_abs_difference:.3g} (allowed {parity.tolerance:g}), "
        f"{parity.label_flips} labels flipped",
        "",
        "## Input and answer",
        f"- picture: {picture}; scaling and normalisation are inside the graph",
        f"- answer: probabilities of {len(manifest.labels)} classes",
        "",
        "## Data",
        *data,
        "",
        "## Made by",
        f"- {made.script} at revision {made.git_revision}, {made.trained_at}, "
        f"{made.seconds:.1f} s, seed {made.seed}",
    ]
    return "\n".join(lines) + "\n"
