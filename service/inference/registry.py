"""Loaded models by name and version. One broken model never keeps the others down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from service.audit.recorder import RecordedModel
from service.errors import CorruptModel, GlasslineError, Unavailable, UnknownModel
from service.inference.session import Device, Session, blank_inputs
from service.manifest import Manifest
from service.metrics import ModelMetrics
from service.store import ModelStore, StoredModel
from service.tasks import classify

_log = logging.getLogger("glassline.registry")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A verified model version with a warm session."""

    stored: StoredModel
    session: Session
    metrics: ModelMetrics
    recorded: RecordedModel
    load_seconds: float

    @property
    def manifest(self) -> Manifest:
        """The contract it was released with."""
        return self.stored.manifest

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph alone; see `Session.run`."""
        return self.session.run(inputs)

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Graph outputs and what the task makes of them."""
        return classify.answer(self.manifest, outputs)

    def scores(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """(n, n_targets) array that explanations explain."""
        return classify.scores(self.manifest, outputs)


class Registry:
    """Models loaded on first use and kept.

    Args:
        store: where released models are.
        device: see `Session`.
        threads: see `Session`.
        on_load: told of each model that was loaded.
        on_refusal: told name, version and reason of each that was not.
    """

    def __init__(
        self,
        store: ModelStore,
        device: Device = "auto",
        threads: int = 0,
        on_load: Callable[[LoadedModel], None] | None = None,
        on_refusal: Callable[[str, str | None, str], None] | None = None,
    ) -> None:
        self._on_load = on_load
        self._on_refusal = on_refusal
        self._store = store
        self._device: Device = device
        self._threads = threads
        self._loaded: dict[tuple[str, str], LoadedModel] = {}
        self._latest: dict[str, str] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    def load_newest(self) -> None:
        """Load the newest version of every model; a refused one is logged and remembered."""
        for name in self._store.names():
            try:
                self.get(name)
            except GlasslineError as error:
                _log.error("refused to load: %s", error)

    def peek(self, name: str, version: str | None) -> LoadedModel | None:
        """The model if it is in memory: the fast path, no lock, no disk."""
        if version is None:
            version = self._latest.get(name, "")
        return self._loaded.get((name, version))

    def get(self, name: str, version: str | None = None) -> LoadedModel:
        """The model, loaded when it is not yet. May take seconds: never call on the event loop.

        Raises:
            UnknownModel: not in the store.
            CorruptModel: it does not match its digests, now or at an earlier try.
        """
        if model := self.peek(name, version):
            return model
        with self._lock:
            newest = version is None
            if version is None:
                versions = self._store.versions(name)
                version = versions[-1] if versions else None
            if version is not None and (reason := self._refused.get((name, version))):
                raise CorruptModel(reason)
            model = self._loaded.get((name, version or "")) or self._load(name, version)
            key = (name, model.manifest.version)
            self._loaded[key] = model
            if newest:
                self._latest[name] = key[1]
            return model

    def _load(self, name: str, version: str | None) -> LoadedModel:
        start = time.perf_counter()
        try:
            stored = self._store.get(name, version)
            session = Session(stored, device=self._device, threads=self._threads)
            session.warm_up(blank_inputs(stored))
        except (CorruptModel, Unavailable) as error:
            self._refused[(name, version or "")] = str(error)
            if self._on_refusal:
                self._on_refusal(name, version, str(error))
            raise
        seconds = time.perf_counter() - start
        metrics = ModelMetrics(name, stored.manifest.version)
        metrics.loaded(seconds, session.provider)
        _log.info("loaded %s in %.2f s", stored.manifest.reference, seconds)
        recorded = RecordedModel.of(stored.manifest, session.provider, session.threads)
        model = LoadedModel(stored, session, metrics, recorded, seconds)
        if self._on_load:
            self._on_load(model)
        return model

    def versions(self, name: str) -> list[str]:
        """Stored versions of a model, oldest first.

        Raises:
            UnknownModel: not in the store.
        """
        versions = self._store.versions(name)
        if not versions:
            known = ", ".join(self._store.names()) or "none yet"
            raise UnknownModel(f"model '{name}' is not in the store; known models: {known}.")
        return versions

    def index(self) -> list[dict[str, str]]:
        """Every stored version: name, version, state READY or UNAVAILABLE, and the reason."""
        entries = []
        for name, version in self._store.list():
            ready = (name, version) in self._loaded
            reason = self._refused.get((name, version), "" if ready else "not loaded yet")
            state = "READY" if ready else "UNAVAILABLE"
            entries.append({"name": name, "version": version, "state": state, "reason": reason})
        return entries

    @property
    def refused(self) -> dict[str, str]:
        """`name@version` -> why it was not loaded."""
        return {f"{name}@{version}": reason for (name, version), reason in self._refused.items()}

    def loaded(self) -> list[LoadedModel]:
        """Models in memory."""
        return list(self._loaded.values())
