"""Metadata bodies, against a golden file and the protocol's required members."""

from __future__ import annotations

import json
from pathlib import Path

from service.protocol.metadata import model_metadata, server_metadata, task_outputs
from tests.protocol.manifests import ALL, SERIES, TINY

GOLDEN = Path(__file__).parent / "golden"


def test_model_metadata_is_the_golden_body_and_the_digest() -> None:
    wanted = json.loads((GOLDEN / "metadata-tiny.json").read_text())
    wanted["parameters"]["digest"] = TINY.digest
    assert json.loads(json.dumps(model_metadata(TINY, ["1", "3"]))) == wanted


def test_server_metadata_names_the_extensions_that_the_codecs_speak() -> None:
    assert server_metadata("1.2.3") == {
        "name": "glassline",
        "version": "1.2.3",
        "extensions": ["binary_tensor_data"],
    }


def test_a_model_without_media_says_so() -> None:
    assert model_metadata(ALL, ["3"])["parameters"]["media"] is None


def test_task_outputs_yield_to_the_graphs_own_names() -> None:
    own = SERIES.outputs[0].model_copy(update={"name": "confidence"})
    taken = SERIES.model_copy(update={"outputs": (*SERIES.outputs, own)})
    assert [t.name for t in task_outputs(SERIES)] == ["label", "confidence"]
    assert [t.name for t in task_outputs(taken)] == ["label"]
