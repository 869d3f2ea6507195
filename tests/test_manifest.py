"""The contract refuses what training and serving could read differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.manifest import Manifest
from tests.small_detector import release_detector
from tests.small_translator import translator_manifest
from tests.test_store import manifest_of, write_identity_graph


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, Any]:
    graph = tmp_path / "identity.onnx"
    write_identity_graph(graph)
    return manifest_of(graph).model_dump(mode="json")


def test_canonical_bytes_do_not_depend_on_the_order_of_fields(fields: dict[str, Any]) -> None:
    shuffled = dict(reversed(fields.items()))
    assert Manifest(**shuffled).canonical() == Manifest(**fields).canonical()
    assert Manifest(**shuffled).digest == Manifest(**fields).digest


def test_canonical_bytes_read_back_as_the_same_manifest(fields: dict[str, Any]) -> None:
    manifest = Manifest(**fields)
    assert Manifest.model_validate_json(manifest.canonical()) == manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Upper Case"}, "name"),
        ({"version": "0"}, "version"),
        ({"labels": ("good",)}, "2 classes, but there are 1 labels"),
        ({"graphs": {}}, "graphs"),
        ({"surprise": 1}, "surprise"),
        ({"metrics": {"accuracy": float("nan")}}, "accuracy"),
        (
            {"outputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]},
            "names must differ",
        ),
        (
            {"media": {"kind": "image", "input": "x", "color": "L", "width": 4, "height": 4}},
            "media decodes to UINT8",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    fields: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Manifest(**(fields | change))


def test_a_release_has_the_graphs_of_its_task_and_no_others(fields: dict[str, Any]) -> None:
    part = next(iter(fields["graphs"].values()))
    with pytest.raises(ValidationError, match="can classify have the role 'predict', got"):
        Manifest(**(fields | {"graphs": {"predict": part, "step": part}}))
    translator = translator_manifest().model_dump(mode="json")
    assert set(Manifest(**translator).graphs) == {"encode", "step"}
    with pytest.raises(ValidationError, match="have the role 'encode' and 'step', got"):
        Manifest(**(translator | {"graphs": {"encode": part}}))


def test_subwords_belong_to_translations_alone(fields: dict[str, Any]) -> None:
    translator = translator_manifest().model_dump(mode="json")
    with pytest.raises(ValidationError, match="belongs to the task 'translate' alone"):
        Manifest(**(translator | {"media": None}))
    with pytest.raises(ValidationError, match="needs the asset 'vocabulary'"):
        Manifest(**(translator | {"assets": {}}))
    with pytest.raises(ValidationError, match="takes texts as the only input"):
        Manifest(**(translator | {"inputs": fields["inputs"]}))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    stored = release_detector(tmp_path_factory.mktemp("home"), "windows")
    return stored.manifest.model_dump(mode="json")


def test_manifests_without_a_calibration_keep_their_bytes(fields: dict[str, Any]) -> None:
    assert b"calibration" not in Manifest(**fields).canonical()
    assert b"gallery" not in Manifest(**fields).canonical()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calibration": None}, "a calibration belongs to the task 'anomaly'"),
        ({"assets": {}}, "needs the asset 'calibration'"),
        ({"evidence": {}}, "has the output 'error', which is evidence"),
        ({"task": "regress"}, "a calibration belongs to the task 'anomaly' alone"),
    ],
)
def test_a_detector_has_what_its_answer_needs(
    detector: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    assert (
        Manifest(**detector).canonical() == Manifest(**dict(reversed(detector.items()))).canonical()
    )
    with pytest.raises(ValidationError, match=words):
        Manifest(**(detector | change))


def test_outputs_of_a_detector_are_of_the_input_s_shape(detector: dict[str, Any]) -> None:
    score, error, *rest = detector["outputs"]
    for outputs, words in (
        ([error, score, *rest], "first output .* is 'score'"),
        (
            [{**score, "shape": [-1, 2], "features": ["a", "b"]}, error],
            "first output .* is 'score'",
        ),
        (
            [score, {**error, "shape": [-1, 6, 3]}, *rest],
            "a value for each place of input 'window'",
        ),
    ):
        with pytest.raises(ValidationError, match=words):
            Manifest(**(detector | {"outputs": outputs}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budget": {"kind": "rate", "rate": 1.0}}, "rate"),
        (
            {"budget": {"kind": "events_per_hour", "events_per_hour": 5, "rows_per_hour": 4}},
            "wanted fewer alarms than rows",
        ),
        ({"method": "evt"}, "a tail belongs to the method 'evt'"),
        ({"realised": None}, "belongs to the method 'conformal'"),
        ({"adaptive": {"gamma": 0}}, "gamma"),
    ],
)
def test_a_calibration_that_contradicts_itself_is_refused(
    detector: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Manifest(**(detector | {"calibration": detector["calibration"] | change}))


def test_a_gallery_of_another_graph_or_dimension_is_refused(detector: dict[str, Any]) -> None:
    digest = detector["graphs"]["predict"]["sha256"]
    part = detector["assets"]["calibration"]
    assets = {**detector["assets"], "gallery": part, "gallery-ids": part}
    gallery = {"output": "latent", "count": 3, "dimension": 2, "graph": digest}
    Manifest(**(detector | {"assets": assets, "gallery": gallery}))
    for change, words in (
        ({"graph": "0" * 64}, "vectors of two graphs cannot be compared"),
        ({"dimension": 3}, "but output 'latent' has 2"),
        ({"output": "error"}, "no output of vectors"),
        ({"vectors": "nobody"}, "needs the assets"),
    ):
        with pytest.raises(ValidationError, match=words):
            Manifest(**(detector | {"assets": assets, "gallery": gallery | change}))


def test_an_embedding_s_first_output_is_a_vector(detector: dict[str, Any]) -> None:
    latent = detector["outputs"][-1]
    embed = detector | {
        "task": "embed", "calibration": None, "assets": {}, "evidence": {}, "outputs": [latent],
    }  # fmt: skip
    assert Manifest(**embed).task == "embed"
    with pytest.raises(ValidationError, match="no output of vectors"):
        Manifest(**(embed | {"outputs": [{**latent, "shape": [-1, -1]}]}))
