"""What one predicting process holds: models, records, and the way to the explainer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from service.audit.store import RecordStore
from service.audit.writer import RecordWriter
from service.errors import Unavailable
from service.explain_queue import ExplainQueue
from service.inference.predictor import Predictor
from service.inference.registry import LoadedModel, Registry
from service.settings import Settings


@dataclass(slots=True)
class Serving:
    """The state of a worker between its start and its end."""

    settings: Settings
    registry: Registry
    records: RecordStore
    writer: RecordWriter
    predictor: Predictor
    explain_queue: ExplainQueue

    async def model(self, name: str, version: str | None) -> LoadedModel:
        """A loaded model; loading happens off the event loop.

        Raises:
            UnknownModel: not in the store.
            CorruptModel: refused, with the reason.
        """
        if model := self.registry.peek(name, version):
            return model
        return await asyncio.to_thread(self.registry.get, name, version)

    def check_ready(self) -> None:
        """Raise unless this worker can answer and record.

        Raises:
            Unavailable: no model is loaded, or records cannot be written.
        """
        if not self.registry.loaded():
            refused = "; ".join(self.registry.refused.values())
            raise Unavailable(
                f"no model is loaded. {refused or 'Release one with `glassline train`.'}"
            )

    def close(self) -> None:
        """Finish what runs, then close the record store."""
        self.predictor.close()
        self.writer.close()
        self.records.close()
