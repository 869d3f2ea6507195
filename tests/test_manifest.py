"""The contract refuses what training and serving could read differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.manifest import Manifest
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
