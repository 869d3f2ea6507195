"""Loaded models by name and version. One broken model never keeps the others down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from service.audit.recorded_model import RecordedModel
from service.audit.recorder import Recorder
from service.errors import (
    CorruptModel,
    GlasslineError,
    Unavailable,
    UnknownModel,
)
from service.inference.devices import Device
from service.inference.gallery import VectorGallery
from service.inference.repository import LATEST, RepositoryState
from service.inference.session import Session
from service.inference.translator import Translator, warm
from service.manifest import Manifest
from service.model_metrics import ModelMetrics
from service.settings import Deadline, Settings
from service.store import ModelStore, StoredModel
from service.tasks.deadline import LatencyBudget
from service.tasks.task import TaskAnswer, task_of

#: A session keeps its weights once in the file's form and once as it runs them, and arenas.
_MEMORY_FACTOR, _MEMORY_FLOOR = 2, 8 * 1024 * 1024
_log = logging.getLogger("glassline.registry")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A verified model version with a warm session, or with the two of a translator."""

    stored: StoredModel
    session: Session | Translator
    metrics: ModelMetrics
    recorded: RecordedModel
    task: TaskAnswer
    load_seconds: float
    #: vectors of earlier inputs, where the release has them
    gallery: VectorGallery | None = None
    #: in which it must answer, where the settings say so
    budget: LatencyBudget | None = None

    @property
    def manifest(self) -> Manifest:
        """The contract it was released with."""
        return self.stored.manifest

    @property
    def memory_bytes(self) -> int:
        """An estimate of what it holds in memory, from the size of its graphs."""
        return _MEMORY_FACTOR * self.stored.size + _MEMORY_FLOOR

    def admit(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """A caller's inputs, completed; see `Preparation.admit`.

        Raises:
            TensorMismatch: nothing can be said about them.
        """
        preparation = self.session.preparation
        return dict(inputs) if preparation is None else preparation.admit(inputs)

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph alone; see `Session.run`."""
        return self.session.run(inputs)

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Graph outputs and what the task makes of them."""
        return self.task.answer(outputs)


class Registry:
    """Models loaded on first use and kept, in the versions the repository agreed on.

    Args:
        store: where released models are.
        device: see `Session`.
        threads: a graph; 0 = one for fast graphs, all cores for the others.
        memory_bytes: what all loaded models together may hold, by estimate; the least
            recently used are dropped and loaded again when asked for; 0 = no limit.
        gpu: which GPU, where it is one.
        serves: whether requests are answered from it, so that metrics tell where.
        on_load: told of each model that was loaded.
        on_refusal: told name, version and reason of each that was not.
        deadlines: latency budgets by name.
    """

    def __init__(
        self,
        store: ModelStore,
        device: Device = "auto",
        threads: int = 0,
        memory_bytes: int = 0,
        gpu: int = 0,
        serves: bool = True,
        on_load: Callable[[LoadedModel], None] | None = None,
        on_refusal: Callable[[str, str, str], None] | None = None,
        deadlines: Mapping[str, Deadline] | None = None,
    ) -> None:
        self._store = store
        self._device: Device = device
        self._threads = threads
        self._memory_bytes = memory_bytes
        self._gpu = gpu
        self._serves = serves
        self._on_load = on_load
        self._on_refusal = on_refusal
        self._deadlines = deadlines or {}
        self._loaded: dict[tuple[str, str], LoadedModel] = {}
        self._used: dict[tuple[str, str], float] = {}
        #: (name, alias) -> version; the alias "latest" is what a bare name means.
        self._aliases: dict[tuple[str, str], str] = {}
        self._unloaded: frozenset[str] = frozenset()
        self._refused: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls, settings: Settings, recorder: Recorder, gpu: int = 0, serves: bool = True
    ) -> Registry:
        """A registry as the settings say, which records what it loads and refuses."""
        return cls(
            ModelStore(settings.root),
            settings.device,
            settings.threads,
            settings.model_memory_bytes,
            gpu,
            serves,
            on_load=lambda model: recorder.model_load(model.recorded, model.load_seconds),
            on_refusal=recorder.model_refused,
            deadlines=settings.deadlines if serves else None,
        )

    def follow(self, state: RepositoryState) -> None:
        """Serve what the repository agreed on; a model it does not name, in its newest version.

        New versions are loaded and warm before their name leads to them, and requests that
        run on an old one finish on it. A model that is refused is logged and remembered.
        """
        with self._lock:
            self._unloaded = state.unloaded
            for key in [key for key in self._loaded if key[0] in state.unloaded]:
                self._drop(key)
            for name, aliases in state.aliases.items():
                self._aliases.update({(name, alias): v for alias, v in aliases.items()})
        for name in self._store.names():
            if name in state.unloaded:
                continue
            version = (
                state.serving.get(name)
                or self._aliases.get((name, LATEST))
                or self._store.versions(name)[-1]
            )
            try:
                self._forgive(name, version)
                self.get(name, version)
            except GlasslineError as error:
                _log.error("refused to load: %s", error)
            self._aliases[name, LATEST] = version

    def _forgive(self, name: str, version: str) -> None:
        """Give a refused version another chance: whoever asks for a load may have mended it."""
        with self._lock:
            self._refused.pop((name, version), None)

    def peek(self, name: str, version: str | None) -> LoadedModel | None:
        """The model if it is in memory: the fast path, no lock, no disk."""
        key = (name, self._aliases.get((name, version or LATEST)) or version or "")
        model = self._loaded.get(key)
        if model is not None:
            self._used[key] = time.monotonic()
        return model

    def get(self, name: str, version: str | None = None) -> LoadedModel:
        """The model, loaded when it is not yet. May take seconds: never call on the event loop.

        Args:
            name: of the model.
            version: a version, an alias, or None for what the bare name means.

        Raises:
            UnknownModel: not in the store.
            CorruptModel: it does not match its digests, now or at an earlier try.
            Unavailable: it was unloaded.
        """
        if model := self.peek(name, version):
            return model
        with self._lock:
            key = (name, self._resolved(name, version))
            if name in self._unloaded:
                raise Unavailable(
                    f"model '{name}' is unloaded. POST /v2/repository/models/{name}/load serves it."
                )
            if reason := self._refused.get(key):
                raise CorruptModel(reason)
            model = self._loaded.get(key) or self._load(*key)
            self._loaded[key] = model
            self._used[key] = time.monotonic()
            self._make_room(key)
            return model

    def _resolved(self, name: str, version: str | None) -> str:
        """The stored version that is meant.

        Raises:
            UnknownModel: no such model or version.
        """
        if known := self._aliases.get((name, version or LATEST)):
            return known
        versions = self.versions(name)
        if version is None or version == LATEST:
            return versions[-1]
        if version not in versions:
            raise UnknownModel(
                f"model '{name}' has no version or alias '{version}'; "
                f"its versions: {', '.join(versions)}."
            )
        return version

    def _load(self, name: str, version: str) -> LoadedModel:
        start = time.perf_counter()
        try:
            stored = self._store.get(name, version)
            deadline = self._deadlines.get(name)
            budget = None if deadline is None else LatencyBudget(stored.manifest, deadline)
            session = warm(stored, self._device, self._threads, self._gpu)
            task = task_of(stored)
        except (CorruptModel, Unavailable) as error:
            self._refused[name, version] = str(error)
            if self._on_refusal:
                self._on_refusal(name, version, str(error))
            raise
        seconds = time.perf_counter() - start
        metrics = ModelMetrics(name, version)
        metrics.loaded(seconds, session.provider if self._serves else None, session.fallback)
        _log.info("loaded %s in %.2f s", stored.manifest.reference, seconds)
        recorded = RecordedModel.of(
            stored.manifest, session.runtime_version, session.provider, session.threads
        )
        gallery = VectorGallery(stored) if stored.manifest.gallery is not None else None
        model = LoadedModel(stored, session, metrics, recorded, task, seconds, gallery, budget)
        if self._on_load:
            self._on_load(model)
        return model

    def _make_room(self, keep: tuple[str, str]) -> None:
        if not self._memory_bytes:
            return
        while sum(model.memory_bytes for model in self._loaded.values()) > self._memory_bytes:
            others = [key for key in self._loaded if key != keep]
            if not others:
                return
            oldest = min(others, key=lambda key: self._used.get(key, 0.0))
            _log.info("dropped %s@%s to make room", *oldest)
            self._drop(oldest)

    def _drop(self, key: tuple[str, str]) -> None:
        model = self._loaded.pop(key, None)
        self._used.pop(key, None)
        if model:
            model.metrics.unloaded()

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
        return [
            {"name": name, "version": version, **self._state(name, version)}
            for name, version in self._store.list()
        ]

    def _state(self, name: str, version: str) -> dict[str, str]:
        if (name, version) in self._loaded:
            return {"state": "READY", "reason": ""}
        if name in self._unloaded:
            return {"state": "UNAVAILABLE", "reason": "unloaded"}
        reason = self._refused.get((name, version), "loaded when first asked for")
        return {"state": "UNAVAILABLE", "reason": reason}

    @property
    def refused(self) -> dict[str, str]:
        """`name@version` -> why it was not loaded."""
        return {f"{name}@{version}": reason for (name, version), reason in self._refused.items()}

    def loaded(self) -> list[LoadedModel]:
        """Models in memory."""
        return list(self._loaded.values())
