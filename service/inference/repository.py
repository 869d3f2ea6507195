"""What all processes of a home agree to serve: unloaded models and version aliases.

One small JSON file in the home, replaced whole. Each process looks at it now and then and
follows; nobody needs to be asked, and a restart finds it as it was.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter, StoreError
from service.store import ModelStore

#: The alias that always means the newest version that was loaded.
LATEST = "latest"


class RepositoryState(BaseModel):
    """The agreed state.

    `serving` maps a model to the version that its bare name means; a model that is not in it
    serves its newest version as of each process's start. `aliases` maps a model's alias names
    to versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unloaded: frozenset[str] = frozenset()
    serving: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = Field(default_factory=dict)


class Repository:
    """Reads and changes the agreed state of one home.

    Args:
        home: the folder GLASSLINE_HOME names.
        store: the models that can be meant.
    """

    def __init__(self, home: Path, store: ModelStore) -> None:
        self._file = home / "repository.json"
        self._lock = home / "repository.lock"
        self._store = store

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the state does; cheap enough to ask often."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def read(self) -> RepositoryState:
        """The agreed state.

        Raises:
            StoreError: the file was damaged by another hand.
        """
        try:
            return RepositoryState.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return RepositoryState()
        except ValidationError as error:
            raise StoreError(
                f"{self._file}: not a repository state ({error.error_count()} problems). "
                "Remove the file to serve the newest version of every model."
            ) from None

    def load(self, name: str) -> str:
        """Serve the newest stored version of a model, in all processes; returns it.

        Raises:
            UnknownModel: not in the store.
            CorruptModel: its files do not match its digests; the state stays as it was.
        """
        version = self._store.get(name).manifest.version

        def change(state: RepositoryState) -> RepositoryState:
            return state.model_copy(
                update={
                    "unloaded": state.unloaded - {name},
                    "serving": {**state.serving, name: version},
                }
            )

        self._change(change)
        return version

    def unload(self, name: str) -> None:
        """Serve no version of a model any more, in all processes.

        Raises:
            UnknownModel: not in the store.
        """
        self._store.get(name)
        self._change(lambda s: s.model_copy(update={"unloaded": s.unloaded | {name}}))

    def alias(self, name: str, alias: str, version: str) -> None:
        """Let `alias` mean `version` wherever a version is named.

        Raises:
            InvalidParameter: `alias` is not a name that can be given.
            UnknownModel: no such model version.
        """
        if not (alias.isidentifier() and alias.islower() and len(alias) <= 32) or alias == LATEST:
            raise InvalidParameter(
                f"alias: got '{alias}', wanted a lower-case word of at most 32 letters that is "
                f"not '{LATEST}', for example 'stable'."
            )
        self._store.get(name, version)

        def change(state: RepositoryState) -> RepositoryState:
            of_model = {**state.aliases.get(name, {}), alias: version}
            return state.model_copy(update={"aliases": {**state.aliases, name: of_model}})

        self._change(change)

    def _change(self, change: Callable[[RepositoryState], RepositoryState]) -> None:
        with self._alone():
            state = change(self.read())
            fresh = self._file.with_suffix(f".{os.getpid()}")
            fresh.write_text(state.model_dump_json())
            fresh.replace(self._file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, over all processes."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
