"""The model card: what a person reads before trusting a model."""

from __future__ import annotations

from service.manifest import Manifest, SubwordMedia, Tensor, TextMedia

#: Names of columns that a card lists; the manifest has them all.
LISTED = 40


def card_of(manifest: Manifest, summary: str) -> str:
    """A model card in Markdown, every figure taken from the manifest.

    Args:
        manifest: complete but for its card.
        summary: what the model is, what it is for and what it is not for.
    """
    made, parity = manifest.provenance, manifest.parity
    classifies = manifest.task == "classify"
    metrics = [f"- {name}: {value:.6g}" for name, value in manifest.metrics.items()]
    data = [f"- {name}: {value}" for name, value in made.data.items()]
    kinds = {"regress": "value", "generate": "value", "act": "preference"}
    kind = kinds.get(manifest.task, "probability")
    flips = f", {parity.label_flips} labels flipped" if classifies else ""
    if manifest.calibration is not None:
        flips = f", {parity.label_flips} verdicts flipped"
    if manifest.task == "translate":
        flips = f", {parity.label_flips} texts written differently"
    if manifest.task == "act":
        flips = f", {parity.label_flips} actions flipped"
    lines = [
        f"# {manifest.name}, version {manifest.version}",
        "",
        summary,
        "",
        "## Measured",
        f"Through ONNX Runtime, on the exported graph, which computes in {manifest.precision}.",
        *metrics,
        f"- exported graph against trained network, {parity.rows} rows: largest difference of a "
        f"{kind} {parity.max_abs_difference:.3g} (allowed {parity.tolerance:.3g}){flips}",
        *_sanity(manifest),
        *_compression(manifest),
        *([manifest.calibration.told()] if manifest.calibration is not None else []),
        "",
        "## Input and answer",
        *_inputs(manifest),
        *_answers(manifest),
        "",
        "## Data",
        *data,
        "",
        "## Made by",
        f"- {made.script} at revision {made.git_revision}, {made.trained_at}, "
        f"{made.seconds:.1f} s, seed {made.seed}",
    ]
    return "\n".join(lines) + "\n"


def _sanity(manifest: Manifest) -> list[str]:
    found = manifest.randomisation
    if found is None:
        return []
    said = "hang on what it has learnt" if found.passed else "HARDLY HANG ON WHAT IT HAS LEARNT"
    return [
        f"- explanations {said}: with random weights in its place, those of {found.inputs} inputs "
        f"have a rank correlation of {found.similarity:.2f} with these (1 = the same, 0.5 allowed)"
    ]


def _compression(manifest: Manifest) -> list[str]:
    found = manifest.compression
    if found is None:
        return []
    size, speed = found.bytes / found.fp32_bytes, found.rows_per_second / found.fp32_rows_per_second
    return [
        f"- beside the same network in FP32: {found.metric} {found.score:.6g} beside "
        f"{found.fp32_score:.6g}; {found.bytes} bytes beside {found.fp32_bytes}, {size:.2f} times; "
        f"{found.rows_per_second:.0f} rows a second beside {found.fp32_rows_per_second:.0f}, "
        f"{speed:.2f} times, in batches of {found.batch} on one thread of "
        f"{manifest.provenance.environment.get('cpu', 'this processor')}"
    ]


def _inputs(manifest: Manifest) -> list[str]:
    media = manifest.images
    if media is not None:
        size = f"{media.width} x {media.height} pixels, {media.color}"
        return [f"- picture: {size}; scaling and normalisation are inside the graph"]
    if isinstance(manifest.media, TextMedia):
        return [f"- text: input `{manifest.media.input}`; its words are numbered by the service"]
    sequences = manifest.sequences
    if sequences is not None:
        gaps = {"refuse": "gaps are refused", "interpolate": "gaps are interpolated, and counted"}
        return [
            f"- {_described(manifest.inputs[0])}; {sequences.shortest} to {sequences.longest} "
            f"steps, {gaps[sequences.gaps]}; scaling is inside the graph",
            f"- `{sequences.length}`: how many steps of each window are no padding; all, if left "
            "out",
        ]
    if isinstance(manifest.media, SubwordMedia):
        text = manifest.media
        return [
            f"- text: input `{text.input}`, at most {text.longest} subwords; the service cuts it"
        ]
    return [f"- {_described(tensor)}; scaling is inside the graph" for tensor in manifest.inputs]


def _answers(manifest: Manifest) -> list[str]:
    first, *others = manifest.outputs
    if manifest.task == "classify":
        said = [f"- answer: probabilities of {len(manifest.labels)} classes"]
    else:
        said = [f"- answer: {_described(first)}"]
    for tensor in others:
        proof = manifest.evidence.get(tensor.name)
        said.append(f"- besides: {_described(tensor)}{f', evidence ({proof})' if proof else ''}")
    return said


def _described(tensor: Tensor) -> str:
    extents = " x ".join("any" if extent < 0 else str(extent) for extent in tensor.shape)
    words = f"`{tensor.name}`, {tensor.datatype}, {extents}"
    if tensor.unit:
        words += f", in {tensor.unit}"
    if tensor.features:
        named = ", ".join(tensor.features[:LISTED])
        more = len(tensor.features) - LISTED
        words += f" ({named}{f' and {more} more' if more > 0 else ''})"
    return words
