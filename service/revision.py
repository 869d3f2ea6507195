"""A new version of a released model with the very same graph: only what stands beside it changes.

No change without its record: it is recorded first, then stored.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from service.audit.log_writer import LogWriter
from service.audit.record import build, new_id, timestamp
from service.manifest import Graph, Manifest
from service.settings import Settings
from service.store import ModelStore, StoredModel

#: Kinds of record that a change of a model has.
Kind = Literal["calibration", "gallery"]
#: Role to file name and content, of assets that are new or another.
Assets = Mapping[str, tuple[str, bytes]]


def revised(store: ModelStore, stored: StoredModel, assets: Assets, changes: Mapping[str, Any],
            record: Change) -> StoredModel:  # fmt: skip
    """Store the next version of a model.

    Args:
        store: where it goes.
        stored: what it comes from; its files have been held against its manifest.
        assets: those that are new or another.
        changes: fields of the manifest; graphs are none of them.
        record: of this change.

    Raises:
        StoreError: the store cannot take it.
        Unavailable, KeyRefused: it cannot be recorded; nothing was stored.
    """
    manifest = stored.manifest
    parts = {
        role: Graph(file=file, sha256=hashlib.sha256(content).hexdigest())
        for role, (file, content) in assets.items()
    }
    fields = {
        "version": store.next_version(manifest.name),
        "assets": {**manifest.assets, **parts},
        **changes,
    }
    # Validated anew: a copy is not.
    draft = Manifest.model_validate(manifest.model_copy(update=fields).model_dump())
    assert draft.graphs == manifest.graphs
    with tempfile.TemporaryDirectory(prefix="glassline-revision-") as scratch:
        new = {file: Path(scratch) / file for file, _ in assets.values()}
        for file, content in assets.values():
            new[file].write_bytes(content)
        kept = {part.file: stored.folder / part.file
                for part in (*draft.graphs.values(), *draft.assets.values())}  # fmt: skip
        record.append(manifest, draft)
        return store.put(draft, kept | new)


class Change:
    """The record of a change.

    Args:
        settings: of the log that it goes into, beside a running server or without one.
        kind: of record.
        person: who does it.
        reason: why, in their words.
        content: further JSON values.
    """

    def __init__(
        self, settings: Settings, kind: Kind, person: str, reason: str, content: Mapping[str, Any]
    ) -> None:
        self._settings = settings
        self._kind = kind
        self._person = person
        self._reason = reason
        self._content = content
        #: of the record, once there is one
        self.record_id = ""

    def append(self, before: Manifest, after: Manifest) -> None:
        """Append it, durably.

        Raises:
            Unavailable, KeyRefused: it cannot be written.
        """
        moment, record_id = datetime.now(UTC), new_id()
        said = {
            "started_at": timestamp(moment),
            "caller": self._person,
            "model": _named(after),
            "from": _named(before),
            "reason": self._reason,
            **self._content,
        }
        columns = {
            "model": after.name,
            "version": after.version,
            "decision": self._kind,
            "caller": self._person[:256],
        }
        LogWriter.of(self._settings).append([build(self._kind, record_id, moment, said, columns)])
        self.record_id = record_id


def _named(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "manifest_sha256": manifest.digest,
        "graphs": {role: graph.sha256 for role, graph in manifest.graphs.items()},
    }
