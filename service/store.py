"""Released models on disk, in BentoML's model store: manifest.json, graphs and assets.

Nothing is handed out whose bytes differ from its manifest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.errors import CorruptModel, StoreError, UnknownModel
from service.manifest import Graph, Manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model version whose files match its manifest."""

    manifest: Manifest
    folder: Path

    def graph(self, role: str = "predict") -> Path:
        """Path of the ONNX graph of that role; `manifest.ROLES` says which there are."""
        return self.folder / self.manifest.graphs[role].file

    @property
    def size(self) -> int:
        """Bytes of its graphs."""
        return sum(self.graph(role).stat().st_size for role in self.manifest.graphs)

    def asset(self, role: str) -> Path | None:
        """Path of the asset of that role; None where the release has none."""
        part = self.manifest.assets.get(role)
        return None if part is None else self.folder / part.file


class ModelStore:
    """The model store below one Glassline home.

    Args:
        home: the folder GLASSLINE_HOME names; created when missing.
    """

    def __init__(self, home: Path) -> None:
        self._bentoml_home = home / "bentoml"
        self._base = self._bentoml_home / "models"
        self._base.mkdir(parents=True, exist_ok=True)

    def put(self, manifest: Manifest, files: Mapping[str, Path]) -> StoredModel:
        """Store one model version; all of it or nothing.

        Args:
            manifest: its name and version must be free (see `next_version`).
            files: manifest file name -> where the file is now; every graph and asset.

        Raises:
            StoreError: the version is taken, a file is missing or superfluous, or a
                file's digest is not the manifest's.
        """
        where = manifest.reference
        if manifest.version in self.versions(manifest.name):
            raise StoreError(f"{where}: this version is in the store; releases are never replaced.")
        declared = _files(manifest)
        if set(declared) != set(files):
            raise StoreError(f"{where}: got files {sorted(files)}, wanted {sorted(declared)}.")
        for name, part in declared.items():
            if (got := sha256_of(files[name])) != part.sha256:
                raise StoreError(f"{where}: {name} has SHA-256 {got}, wanted {part.sha256}.")
        with self._bentoml().models.create(
            f"{manifest.name}:{manifest.version}",
            labels={"family": manifest.family, "task": manifest.task},
            metadata={"manifest_sha256": manifest.digest},
            _model_store=self._bento_store(),
        ) as model:
            folder = Path(model.path)
            for name, source in files.items():
                shutil.copyfile(source, folder / name)
            (folder / MANIFEST).write_bytes(manifest.canonical())
        return self.get(manifest.name, manifest.version)

    def get(self, name: str, version: str | None = None) -> StoredModel:
        """A model version, its digests verified; `version=None` is the newest.

        Raises:
            UnknownModel: no such name or version.
            CorruptModel: a file is missing or differs from the manifest.
        """
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "none yet: run `glassline train`"
            raise UnknownModel(f"model '{name}' is not in the store; known models: {known}.")
        if version is None:
            version = versions[-1]
        if version not in versions:
            raise UnknownModel(
                f"model '{name}' has no version '{version}'; its versions: {', '.join(versions)}."
            )
        return _verified(self._base / name / version, name, version)

    def names(self) -> list[str]:
        """Names of all stored models, sorted."""
        return sorted(p.name for p in self._base.iterdir() if self.versions(p.name))

    def versions(self, name: str) -> list[str]:
        """Versions of a model, oldest first; empty when the name is unknown."""
        if not name or "/" in name or name.startswith("."):
            return []
        folder = self._base / name
        if not folder.is_dir():
            return []
        found = [p.name for p in folder.iterdir() if p.is_dir() and p.name.isdecimal()]
        return sorted(found, key=int)

    def list(self) -> list[tuple[str, str]]:
        """(name, version) of every stored model version."""
        return [(name, version) for name in self.names() for version in self.versions(name)]

    def next_version(self, name: str) -> str:
        """The version that a new release of `name` gets: "1", "2", ..."""
        versions = self.versions(name)
        return str(int(versions[-1]) + 1) if versions else "1"

    def _bentoml(self) -> Any:
        # BentoML creates its home at first use, ~/bentoml unless told otherwise, and
        # nothing may land outside the project folder.
        os.environ.setdefault("BENTOML_HOME", str(self._bentoml_home))
        os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
        import bentoml

        return bentoml

    def _bento_store(self) -> Any:
        self._bentoml()
        from bentoml._internal.models import ModelStore as BentoModelStore

        return BentoModelStore(str(self._base))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}).") from None


def _files(manifest: Manifest) -> dict[str, Graph]:
    return {part.file: part for part in (*manifest.graphs.values(), *manifest.assets.values())}


def _verified(folder: Path, name: str, version: str) -> StoredModel:
    where = f"model {name}@{version}"
    remedy = "Restore the file from a backup or release the model again."
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = Manifest.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        raise CorruptModel(f"{where}: {MANIFEST} is unreadable ({error}). {remedy}") from None
    if manifest.canonical() != raw or (manifest.name, manifest.version) != (name, version):
        raise CorruptModel(
            f"{where}: {MANIFEST} is not the canonical manifest of this version. {remedy}"
        )
    recorded = _recorded_digest(folder)
    if recorded != manifest.digest:
        raise CorruptModel(
            f"{where}: {MANIFEST} has SHA-256 {manifest.digest}, the store recorded {recorded}. "
            f"{remedy}"
        )
    for file, part in _files(manifest).items():
        try:
            got = sha256_of(folder / file)
        except StoreError as error:
            raise CorruptModel(f"{where}: {error} {remedy}") from None
        if got != part.sha256:
            raise CorruptModel(
                f"{where}: {file} has SHA-256 {got}, the manifest says {part.sha256}. {remedy}"
            )
    return StoredModel(manifest, folder)


def _recorded_digest(folder: Path) -> str:
    """The manifest digest that BentoML's model.yaml has carried since the release."""
    import yaml

    try:
        info = yaml.safe_load((folder / "model.yaml").read_text())
        return str(info["metadata"]["manifest_sha256"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return "nothing readable"
