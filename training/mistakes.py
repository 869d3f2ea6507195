"""The worst answers to the test rows, and why the model gave them."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import ExplanationError
from service.explain.drawing import described, draw_body
from service.explain.error_picture import drawn_error
from service.explain.feature_explanation import FeatureExplanation
from service.explain.parameters import ExplainParameters
from service.explain.render import thumbnail
from service.inference.session import Session
from service.manifest import TextMedia
from service.modalities.choice import explainer_of
from service.store import StoredModel
from service.tasks.anomaly import ANOMALY, NORMAL
from service.tasks.task import task_of
from training.candidate import Candidate, Rows, rows_of, some_rows
from training.open_graph import OpenGraph
from training.scoring import Answered

#: Seconds that all explanations of a page take, about, and fewest samples that are worth it.
SECONDS, FEWEST = 8.0, 100
#: Columns of a table that are shown.
COLUMNS = 8
#: Pixels on the long side of a picture as it was sent.
THUMBNAIL = 240


@dataclass(frozen=True, slots=True)
class Mistake:
    """One row and its answer.

    Attributes:
        row: its place among the test rows, from 0.
        truth, answer: a label, or a value in its unit.
        score: probability of the answered class; or the error, in the value's unit.
        wrong: whether the answer is another class than the true one; regressions: True.
        shown: what a person reads of the row, if anything.
        picture: the row itself, where it is a picture.
        overlay: what the answer was explained by; None where there was no time or no way.
        weights: the same of a row of a table: what each of the strongest columns weighs.
        samples: of the explanation; 0 = there is none.
    """

    row: int
    truth: str
    answer: str
    score: float
    wrong: bool
    shown: str = ""
    picture: Image.Image | None = None
    overlay: Image.Image | None = None
    weights: tuple[tuple[str, float], ...] = ()
    samples: int = 0


def worst(candidate: Candidate, model: StoredModel, answers: Answered) -> list[Mistake]:
    """The worst answers first, explained.

    A classifier's are the wrong ones that it was surest of; where every row is right, those of
    the right ones that it was least sure of. A regression's are the largest errors, of the value
    that is furthest off in units of the truth's deviation.
    """
    orders = {"classify": _classified, "anomaly": _judged}
    order, columns = orders.get(candidate.task, _off)(candidate, answers)
    graph = OpenGraph(model, Session(model))
    explained, samples = 0, 0
    if candidate.task != "anomaly":  # the graph itself shows where it fails
        explained, samples = _affordable(candidate, graph, len(order))
    found = []
    for rank, at in enumerate(order):
        row = int(answers.rows[at])
        block = _row(candidate, row)
        mistake = _mistake(candidate, answers, at, int(columns[at]), block)
        sent = _sent(candidate, mistake, block)
        if rank < explained and sent is not None:
            mistake = _explained(mistake, graph, sent, int(columns[at]), samples)
        elif candidate.task == "anomaly":
            mistake = replace(mistake, overlay=_heat(model, graph, block))
        found.append(mistake)
    return found


def _classified(candidate: Candidate, answers: Answered) -> tuple[list[int], NDArray[np.intp]]:
    """Places among the answers, the worst first; the answered class of each."""
    said = answers.answers[candidate.outputs[0].name]
    called, sure = said.argmax(axis=1), said.max(axis=1)
    wrong = np.flatnonzero(called != answers.truth)
    order = wrong[np.argsort(-sure[wrong], kind="stable")]
    if not len(order):
        order = np.argsort(sure, kind="stable")
    return order[: candidate.mistakes].tolist(), called


def _judged(candidate: Candidate, answers: Answered) -> tuple[list[int], NDArray[np.intp]]:
    """The same of a detector; its first output has one column."""
    beyond = (answers.answers["score"].reshape(-1) - answers.answers["threshold"]).astype(float)
    inside = np.where(answers.truth == 1, beyond, -beyond)  # below 0 = wrong
    order = np.argsort(inside, kind="stable")
    wrong = order[(answers.answers["verdict"][order] == ANOMALY) != (answers.truth[order] == 1)]
    if not len(wrong):
        wrong = order
    return wrong[: candidate.mistakes].tolist(), np.zeros(len(order), np.intp)


def _off(candidate: Candidate, answers: Answered) -> tuple[list[int], NDArray[np.intp]]:
    """The same of values; the column of each that is furthest off."""
    values = answers.answers[candidate.outputs[0].name].astype(np.float64)
    deviation = answers.truth.std(axis=0)
    off = np.abs(values - answers.truth) / np.where(deviation > 0, deviation, 1)
    order = np.argsort(-off.max(axis=1), kind="stable")
    return order[: candidate.mistakes].tolist(), off.argmax(axis=1)


def _mistake(
    candidate: Candidate,
    answers: Answered,
    at: int,
    column: int,
    block: Rows,
) -> Mistake:
    row, said = int(answers.rows[at]), answers.answers[candidate.outputs[0].name][at]
    media = candidate.media
    picture = None
    if media is not None and media.kind == "image":
        picture = thumbnail(block[media.input][0], THUMBNAIL)
    if candidate.task == "classify":
        truth, answer = candidate.labels[int(answers.truth[at])], candidate.labels[column]
        score, wrong = float(said[column]), answer != truth
    elif candidate.task == "anomaly":
        truth = ANOMALY if answers.truth[at] == 1 else NORMAL
        answer = str(answers.answers["verdict"][at])
        score, wrong = float(said[0]), answer != truth
    else:
        names = candidate.outputs[0].features or ()
        named = f"{names[column]} " if len(names) > 1 else ""
        truth = f"{named}{answers.truth[at][column]:.5g}"
        answer = f"{named}{said[column]:.5g}"
        score, wrong = float(said[column] - answers.truth[at][column]), True
    return Mistake(
        row=row,
        truth=truth,
        answer=answer,
        score=score,
        wrong=wrong,
        shown=candidate.shown[row] if candidate.shown else "",
        picture=picture,
    )


def _affordable(candidate: Candidate, graph: OpenGraph, wanted: int) -> tuple[int, int]:
    """How many rows there is time to explain, and with how many samples."""
    defaults = candidate.explainer
    if defaults is None or not wanted:
        return 0, 0
    feed = some_rows(candidate.blocks[0], slice(32))
    graph.predict(feed)
    start = time.perf_counter()
    graph.predict(feed)
    a_row = (time.perf_counter() - start) / rows_of(feed)
    affordable = int(SECONDS / max(a_row, 1e-9))
    samples = int(np.clip(affordable // wanted, FEWEST, min(1000, defaults.num_samples)))
    return min(wanted, affordable // samples), samples


def _explained(
    mistake: Mistake, graph: OpenGraph, block: Rows, column: int, samples: int
) -> Mistake:
    """The mistake with what the answer was given for; as it is where it cannot be explained."""
    parameters = ExplainParameters(target=column, num_samples=samples)
    try:
        explainer = explainer_of(graph, block, 0, parameters)
        found = explainer.explain(None, time.monotonic() + 10 * SECONDS)
    except ExplanationError:
        return mistake
    if isinstance(found, FeatureExplanation) and found.modality == "table":
        strongest = found.of().weights[:COLUMNS]
        named = tuple((described(found.features[at]), weight) for at, weight in strongest)
        return replace(mistake, weights=named, samples=samples)
    (subject,) = explainer.subject.values()
    return replace(mistake, overlay=draw_body(subject, found), samples=samples)


def _heat(model: StoredModel, graph: OpenGraph, block: Rows) -> Image.Image:
    """The row under its error, as it is served with `Accept: image/png`."""
    answer = task_of(model).answer(graph.predict(block))
    return Image.open(io.BytesIO(drawn_error(model.manifest, block, answer)))


def _sent(candidate: Candidate, mistake: Mistake, block: Rows) -> Rows | None:
    """The row as a caller sends it; None where that is not known of its words."""
    if isinstance(candidate.media, TextMedia):
        text = np.array([mistake.shown], object)
        return {candidate.media.input: text} if mistake.shown else None
    names = [one.name for one in candidate.inputs]
    if not set(names) <= set(block):
        return None
    # Windows are padded to the longest of their block.
    steps = int(block["length"][0]) if "length" in block else None
    return {
        name: block[name][:, :steps] if steps and block[name].ndim > 1 else block[name]
        for name in names
    }


def _row(candidate: Candidate, row: int) -> dict[str, NDArray[Any]]:
    """One test row as a batch of one."""
    for block in candidate.blocks:
        if row < rows_of(block):
            return some_rows(block, slice(row, row + 1))
        row -= rows_of(block)
    raise IndexError(row)
