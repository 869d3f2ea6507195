"""The evaluation page of a model: one HTML file that needs nothing else, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from service.explain.figure import AGAINST_CSS, FOR_CSS
from service.explain.legend import number
from service.explain.render import png
from service.manifest import Manifest
from service.pages import data_uri, templates
from service.store import StoredModel
from training.candidate import Candidate
from training.detection import Detection, detection
from training.detection_pictures import draw_detection
from training.evaluation import Classification, Regression, classification, regression
from training.evaluation_pictures import draw_classification, draw_regression
from training.generation import Generation, draw_generation
from training.mistakes import Mistake, worst
from training.page_tiles import share_range, tiles
from training.scoring import Answered

#: File names of the assets, by role.
FILES = {"page": "evaluation.html", "evaluation": "evaluation.png"}
#: Kinds of answer that have a page.
PAGED = frozenset({"classify", "regress", "anomaly", "generate"})
#: Classes in the table; of more, those with most rows.
CLASSES = 100
_TEMPLATES = templates(Path(__file__).parent)


def evaluation_page(
    candidate: Candidate, model: StoredModel, answers: Answered, temperature: float | None
) -> dict[str, tuple[str, bytes]]:
    """Draw and write.

    Args:
        candidate: what asks to be released.
        model: its graph and its manifest, complete but for these assets and the card.
        answers: of the graph to its test rows.
        temperature: that is inside the graph; None = none is.

    Returns:
        Assets: role to file name and content. Nothing of another kind of answer, where no row's
        truth is known, or where the first output's extent is not the same for all rows.
    """
    told = candidate.task in PAGED and candidate.outputs[0].name in answers.answers
    if not told or not len(answers.truth):
        return {}
    found: Classification | Regression | Detection | Generation
    if candidate.task == "classify":
        found = classification(candidate, answers, temperature)
        picture = draw_classification(found, candidate.labels)
    elif model.manifest.calibration is not None:
        found = detection(answers.answers, answers.truth, model.manifest.calibration)
        picture = draw_detection(found)
    elif candidate.generation is not None:
        found = candidate.generation(answers.answers)
        picture = draw_generation(found)
    else:
        found = regression(candidate, answers)
        picture = draw_regression(found)
    page = _TEMPLATES.get_template("page.html.j2").render(
        manifest=model.manifest,
        summary=candidate.summary,
        classified=found if isinstance(found, Classification) else None,
        regressed=found if isinstance(found, Regression) else None,
        detected=found if isinstance(found, Detection) else None,
        generated=found if isinstance(found, Generation) else None,
        classes=_classes(found),
        tiles=tiles(model.manifest, found),
        picture=data_uri(picture),
        mistakes=[] if isinstance(found, Generation) else
                 [_shown(one) for one in worst(candidate, model, answers)],
        data=told_rows(model.manifest.provenance.data),
        made=made_by(model.manifest),
        measured=_measured(model.manifest),
        number=number,
        colours={"for": FOR_CSS, "against": AGAINST_CSS},
    )  # fmt: skip
    content = {"page": page.encode(), "evaluation": picture}
    return {role: (file, content[role]) for role, file in FILES.items()}


def _classes(found: Classification | Regression | Detection | Generation) -> list[dict[str, Any]]:
    if not isinstance(found, Classification):
        return []
    most = sorted(found.classes, key=lambda one: -one.rows)[:CLASSES]
    return [
        {
            "label": one.label,
            "rows": one.rows,
            "precision": one.precision,
            "recall": one.recall,
            "precision_range": share_range(one.precision_interval),
            "recall_range": share_range(one.recall_interval),
            "taken_for": "" if one.taken_for is None else
                         f"{one.taken_for[0]} ({one.taken_for[1]})",
        }
        for one in found.classes
        if one in most
    ]  # fmt: skip


def _shown(one: Mistake) -> dict[str, Any]:
    return {
        "row": one.row,
        "truth": one.truth,
        "answer": one.answer,
        "score": one.score,
        "wrong": one.wrong,
        "shown": one.shown,
        "picture": _picture_uri(one.picture),
        "overlay": _picture_uri(one.overlay),
        "weights": bars(one.weights),
        "samples": one.samples,
    }


def bars(weights: tuple[tuple[str, float], ...]) -> list[dict[str, Any]]:
    """Bars to both sides of a middle; `start` and `width` in per cent of the strongest, of 100."""
    strongest = max((abs(weight) for _, weight in weights), default=0.0) or 1.0
    return [
        {
            "name": name,
            "figure": f"{'+' if weight >= 0 else '-'}{number(abs(weight))}",
            "kind": "for" if weight >= 0 else "against",
            "start": 50 + min(0.0, 50 * weight / strongest),
            "width": 50 * abs(weight) / strongest,
        }
        for name, weight in weights
    ]


def _measured(manifest: Manifest) -> list[tuple[str, str]]:
    rows = [(name.replace("_", " "), f"{value:.6g}") for name, value in manifest.metrics.items()]
    sane = manifest.randomisation
    if sane is not None:
        said = "they hang on what it has learnt" if sane.passed else "THEY HARDLY HANG ON IT"
        rows.append(
            ("explanations with random weights in its place",
             f"rank correlation {sane.similarity:.2f} with its own: {said}")
        )  # fmt: skip
    small = manifest.compression
    if small is not None:
        rows += [
            (f"{small.metric} in FP32", f"{small.fp32_score:.6g}"),
            ("bytes", f"{small.bytes}, in FP32 {small.fp32_bytes}"),
            ("rows a second on one CPU thread",
             f"{small.rows_per_second:.0f}, in FP32 {small.fp32_rows_per_second:.0f}"),
        ]  # fmt: skip
    return rows


def made_by(manifest: Manifest) -> list[tuple[str, str]]:
    made = manifest.provenance
    options = made.config.get("options")
    config = {name: value for name, value in made.config.items() if name != "options"}
    rows = [
        ("script", f"{made.script} at revision {made.git_revision}"),
        ("trained at", f"{made.trained_at}, in {made.seconds:.1f} s, seed {made.seed}"),
        ("weights, SHA-256", str(made.environment.get("weights_sha256", "not stated"))),
        ("computes in", manifest.precision),
        *told_rows(config),
    ]
    if isinstance(options, Mapping):
        rows += told_rows(options)
    rows.append(("processor", str(made.environment.get("cpu", "not stated"))))
    return rows


def told_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    def text(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(map(text, value)) or "none"
        return "none" if value is None or value == "" else str(value)

    return [(name.replace("_", " "), text(value)) for name, value in values.items()]


def _picture_uri(picture: Image.Image | None) -> str:
    return "" if picture is None else data_uri(png(picture))
