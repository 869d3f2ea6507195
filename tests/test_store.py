"""The store hands out nothing whose bytes differ from its manifest."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.errors import CorruptModel, StoreError, UnknownModel
from service.manifest import Graph, Manifest, Tensor
from service.store import ModelStore, StoredModel
from tests.unmeasured import PARITY, PROVENANCE


def write_identity_graph(path: Path) -> None:
    """probabilities = x, for two classes."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["probabilities"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)


def manifest_of(graph: Path, name: str = "identity", version: str = "1") -> Manifest:
    return Manifest(
        name=name,
        version=version,
        family="mlp",
        task="classify",
        graphs={
            "predict": Graph(
                file="model.onnx", sha256=hashlib.sha256(graph.read_bytes()).hexdigest()
            )
        },
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 2)),),
        outputs=(Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),),
        labels=("good", "bad"),
        parity=PARITY,
        provenance=PROVENANCE,
    )


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "source.onnx"
    write_identity_graph(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def released(store: ModelStore, graph: Path, version: str = "1") -> StoredModel:
    return store.put(manifest_of(graph, version=version), {"model.onnx": graph})


def test_what_is_put_is_what_is_got(store: ModelStore, graph: Path) -> None:
    put = released(store, graph)
    got = store.get("identity")
    assert got.manifest == put.manifest
    assert got.graph().read_bytes() == graph.read_bytes()
    assert store.list() == [("identity", "1")]


def test_versions_sort_as_numbers_and_the_newest_is_the_default(
    store: ModelStore, graph: Path
) -> None:
    for version in ("9", "10", "2"):
        released(store, graph, version)
    assert store.versions("identity") == ["2", "9", "10"]
    assert store.get("identity").manifest.version == "10"
    assert store.next_version("identity") == "11"
    assert store.next_version("other") == "1"


def test_a_taken_version_is_refused(store: ModelStore, graph: Path) -> None:
    released(store, graph)
    with pytest.raises(StoreError, match="releases are never replaced"):
        released(store, graph)


def test_a_file_that_is_not_the_manifests_is_refused(
    store: ModelStore, graph: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(StoreError, match="wanted"):
        store.put(manifest_of(graph), {"model.onnx": other})
    assert store.list() == []


def test_missing_and_superfluous_files_are_refused(store: ModelStore, graph: Path) -> None:
    with pytest.raises(StoreError, match="got files"):
        store.put(manifest_of(graph), {})
    with pytest.raises(StoreError, match="got files"):
        store.put(manifest_of(graph), {"model.onnx": graph, "more.bin": graph})


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("identity", "7"), ("../x", None)])
def test_unknown_names_and_versions_say_what_is_known(
    store: ModelStore, graph: Path, name: str, version: str | None
) -> None:
    released(store, graph)
    with pytest.raises(UnknownModel, match="identity|versions: 1"):
        store.get(name, version)


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json"])
def test_every_flipped_byte_is_noticed(store: ModelStore, graph: Path, file: str) -> None:
    path = released(store, graph).folder / file
    original = path.read_bytes()
    for position in np.linspace(0, len(original) - 1, 40, dtype=int):
        flipped = bytearray(original)
        flipped[position] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(CorruptModel, match="identity@1"):
            store.get("identity")
    path.write_bytes(original)
    assert store.get("identity").manifest.version == "1"


def test_a_consistent_forgery_of_manifest_and_graph_is_noticed(
    store: ModelStore, graph: Path
) -> None:
    folder = released(store, graph).folder
    (folder / "model.onnx").write_bytes(b"forged")
    forged = manifest_of(folder / "model.onnx")
    (folder / "manifest.json").write_bytes(forged.canonical())
    with pytest.raises(CorruptModel, match="the store recorded"):
        store.get("identity")


def test_a_missing_graph_is_a_corrupt_model(store: ModelStore, graph: Path) -> None:
    released(store, graph).graph().unlink()
    with pytest.raises(CorruptModel, match="model.onnx"):
        store.get("identity")


def test_a_copied_version_folder_does_not_pass_for_another(store: ModelStore, graph: Path) -> None:
    folder = released(store, graph).folder
    shutil.copytree(folder, folder.with_name("2"))
    with pytest.raises(CorruptModel, match="not the canonical manifest of this version"):
        store.get("identity", "2")
