"""From a trained network to a model in the store, or to a refusal.

Export to ONNX, hold the graph against the network on every test row, evaluate the graph
through the service's own code, write the manifest and the card, store. Files cross from
here to `service/`, nothing else does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from service.inference.session import Session
from service.manifest import Graph, Manifest, Parity, Randomisation
from service.store import ModelStore, StoredModel, sha256_of
from service.tasks.task import task_of
from training import parity, randomisation
from training.candidate import Candidate, rows_of, some_rows
from training.card import card_of
from training.export import export, halve

__all__ = ["Candidate", "evaluate", "release"]

GRAPH = "predict.onnx"
#: Rows that are scored together.
SCORED = 64


def release(candidate: Candidate, store: ModelStore) -> StoredModel:
    """Release a candidate as the next version of its name.

    Returns:
        The stored model; the figures in its manifest were measured through ONNX Runtime.

    Raises:
        ReleaseRefused: the exported graph is not the network; nothing was stored.
        StoreError: the store cannot take it.
    """
    with tempfile.TemporaryDirectory(prefix="glassline-release-") as scratch:
        folder = Path(scratch)
        _export(candidate, candidate.network, folder / GRAPH)
        if candidate.precision == "fp16":
            halve(folder / GRAPH)
        found = parity.check(candidate, folder / GRAPH)
        for file, content in candidate.assets.values():
            (folder / file).write_bytes(content)
        version = store.next_version(candidate.name)
        draft = _manifest(candidate, version, folder, found, metrics={})
        metrics = evaluate(StoredModel(draft, folder), candidate)
        sane = _sanity(candidate, StoredModel(draft, folder))
        manifest = _manifest(candidate, version, folder, found, metrics, sane)
        files = (GRAPH, *(file for file, _ in candidate.assets.values()))
        return store.put(manifest, {name: folder / name for name in files})


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


def evaluate(model: StoredModel, candidate: Candidate) -> dict[str, float]:
    """Score the exported graph as the service would answer: session, task, answer.

    Returns:
        Over the rows whose truth is known, their number, and: classify: the rate that is right;
        regress: mean absolute error `mae` and root mean squared error `rmse`, in the unit of the
        values, over all of their columns, and `r2`, the mean over the columns of the share of
        the variance that is explained. Then what `candidate.figures` adds.
    """
    truth = candidate.truth
    # Comparisons with NaN are false; -1 is no label.
    known = truth >= 0 if candidate.task == "classify" else ~np.isnan(truth).any(axis=1)
    answers = _answers(model, candidate, known)
    wanted, rate = truth[known], candidate.measured
    if candidate.task == "classify":
        named = np.array(candidate.labels, object)[wanted]
        figures = {rate[0]: float((answers["label"] == named).mean())}
    else:
        figures = _errors(answers[candidate.outputs[0].name], wanted)
    figures[rate[1]] = float(len(wanted))
    if candidate.figures is not None:
        figures |= candidate.figures(answers, wanted)
    return figures


def _answers(
    model: StoredModel, candidate: Candidate, known: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """What the service answers to the known rows, by name; (n, ...) in the order of the truth.

    Outputs whose extents differ between blocks are left out.
    """
    session, task = Session(model, device="cpu"), task_of(model.manifest)
    parts: dict[str, list[NDArray[Any]]] = {}
    start = 0
    for block in candidate.blocks:
        rows = np.flatnonzero(known[start : start + rows_of(block)])
        start += rows_of(block)
        for some in np.split(rows, range(SCORED, len(rows), SCORED)):
            if len(some):
                for name, values in task.answer(session.run(some_rows(block, some))).items():
                    parts.setdefault(name, []).append(values)
    return {
        name: np.concatenate(values)
        for name, values in parts.items()
        if len({part.shape[1:] for part in values}) == 1
    }


def _errors(got: NDArray[Any], wanted: NDArray[Any]) -> dict[str, float]:
    """Errors of values (n, k)."""
    error = got.astype(np.float64) - wanted
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    # One row, or a target that never changes, has no variance to explain.
    explained = 1 - np.square(error).sum(axis=0) / np.where(spread > 0, spread, np.inf)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(explained.mean()),
    }


def _manifest(
    candidate: Candidate,
    version: str,
    folder: Path,
    found: Parity,
    metrics: dict[str, float],
    sane: Randomisation | None = None,
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
        randomisation=sane,
        metrics=metrics,
        parity=found,
        provenance=candidate.provenance,
    )
    return manifest.model_copy(update={"card": card_of(manifest, candidate.summary)})
