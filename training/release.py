"""From a trained network to a model in the store, or to a refusal.

Export to ONNX, hold the graph against the network on every test row, evaluate the graph
through the service's own code, write the manifest and the card, store. Files cross from
here to `service/`, nothing else does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from service.manifest import Compression, Graph, Manifest, Parity, Randomisation
from service.store import ModelStore, StoredModel, sha256_of
from training import anomaly_free, compression, parity, randomisation, temperature
from training.candidate import Candidate, some_rows
from training.card import card_of
from training.evaluation import calibration_metrics
from training.export import export
from training.page import evaluation_page
from training.scoring import Answered, answered, evaluate

__all__ = ["Candidate", "evaluate", "release"]

GRAPH = "predict.onnx"


def release(candidate: Candidate, store: ModelStore) -> StoredModel:
    """Release a candidate as the next version of its name.

    Returns:
        The stored model; the figures in its manifest were measured through ONNX Runtime.

    Raises:
        ReleaseRefused: the exported graph is not the network, or answers worse in fewer bits;
            nothing was stored.
        StoreError: the store cannot take it.
    """
    candidate, divided_by = temperature.calibrated(candidate)
    with tempfile.TemporaryDirectory(prefix="glassline-release-") as scratch:
        folder = Path(scratch)
        _export(candidate, candidate.network, folder / GRAPH)
        full = compression.copied(folder / GRAPH, "fp32.onnx")
        compression.compress(candidate, folder / GRAPH)
        candidate, calibration = anomaly_free.calibrate(candidate, folder / GRAPH)
        limit = None if calibration is None else calibration.threshold
        found = parity.check(candidate, folder / GRAPH, limit)
        for file, content in candidate.assets.values():
            (folder / file).write_bytes(content)
        version = store.next_version(candidate.name)
        known = {"calibration": calibration}
        draft = StoredModel(_manifest(candidate, version, folder, found, known), folder)
        answers = answered(draft, candidate)
        facts = known | {
            "metrics": answers.metrics | calibration_metrics(candidate, answers, divided_by),
            "compression": _compression(candidate, draft, full, answers),
            "randomisation": _sanity(candidate, draft),
        }
        draft = StoredModel(draft.manifest.model_copy(update=facts), folder)
        page = evaluation_page(candidate, draft, answers, divided_by)
        for file, content in page.values():
            (folder / file).write_bytes(content)
        candidate = replace(candidate, assets={**candidate.assets, **page})
        manifest = _manifest(candidate, version, folder, found, facts)
        files = (GRAPH, *(file for file, _ in candidate.assets.values()))
        return store.put(manifest, {name: folder / name for name in files})


def _compression(
    candidate: Candidate, draft: StoredModel, graph: Path, answers: Answered
) -> Compression | None:
    """What fewer bits cost and gain; nothing where the graph is in FP32."""
    if candidate.precision == "fp32":
        return None
    part = Graph(file=graph.name, sha256=sha256_of(graph))
    full = StoredModel(
        draft.manifest.model_copy(update={"graphs": {"predict": part}}), draft.folder
    )
    metric, _ = compression.metric_of(candidate)
    scores = answers.metrics[metric], evaluate(full, candidate)[metric]
    return compression.compared(candidate, draft, full, scores)


def _export(candidate: Candidate, network: nn.Module, path: Path) -> None:
    export(
        network,
        some_rows(candidate.blocks[0], slice(2)),
        [tensor.name for tensor in candidate.outputs],
        path,
        free=candidate.free,
        exporter=candidate.exporter,
    )


def _sanity(candidate: Candidate, draft: StoredModel) -> Randomisation | None:
    """See `randomisation.check`; not for texts, whose rows are words by now."""
    rows, num_samples = candidate.sanity
    if not rows or candidate.graph_inputs != tuple(one.name for one in candidate.inputs):
        return None
    return randomisation.check(
        draft,
        candidate.network,
        lambda network, path: _export(candidate, network, path),
        some_rows(candidate.blocks[0], slice(rows)),
        num_samples=num_samples,
    )


def _manifest(
    candidate: Candidate,
    version: str,
    folder: Path,
    found: Parity,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Manifest:
    def part(file: str) -> Graph:
        return Graph(file=file, sha256=sha256_of(folder / file))

    manifest = Manifest(
        name=candidate.name,
        version=version,
        family=candidate.family,
        task=candidate.task,
        graphs={"predict": part(GRAPH)},
        precision=candidate.precision,
        assets={role: part(file) for role, (file, _) in candidate.assets.items()},
        inputs=candidate.inputs,
        outputs=candidate.outputs,
        labels=candidate.labels,
        media=candidate.media,
        explainer=candidate.explainer,
        evidence=dict(candidate.evidence),
        interval=candidate.interval,
        parity=found,
        provenance=candidate.provenance,
        **facts,
    )
    return manifest.model_copy(update={"card": card_of(manifest, candidate.summary)})
