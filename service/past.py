"""Past predictions: their record, the very model that made them, and their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from numpy.typing import NDArray

from service.audit.arrays import decode_array
from service.audit.store import RecordStore, StoredRecord
from service.errors import Conflict
from service.inference.registry import LoadedModel, Registry


def fail_safe_of(body: Mapping[str, Any]) -> Any:
    """What was answered in place of a late model, by the body of its record; None = nothing."""
    return body.get("deadline", {}).get("fail_safe")


class Past:
    """What has been recorded, with what it takes to do it again.

    Args:
        registry: this process's own models.
        records: where predictions and their inputs are.
    """

    def __init__(self, registry: Registry, records: RecordStore) -> None:
        self._registry = registry
        self._records = records

    def prediction(self, record_id: str) -> StoredRecord:
        """The record of a prediction.

        Raises:
            UnknownRecord: there is none.
            Conflict: it is of another kind, or of a fail-safe, which no model decided.
        """
        record = self._records.get(record_id)
        if record.kind != "prediction":
            raise Conflict(
                f"record {record_id} is of kind '{record.kind}'; only predictions are explained."
            )
        if fail_safe_of(orjson.loads(record.body)) is not None:
            raise Conflict(
                f"record {record_id} is of a fail-safe, which was answered because the model was "
                "late: there is no decision of the model to explain. Send the input to explain, or "
                "POST the record's replay for what the model says of it."
            )
        return record

    def model_of(self, record: StoredRecord) -> LoadedModel:
        """The very model version that answered, by digest and not by name alone.

        Raises:
            UnknownModel: it is not in the store any more.
            Conflict: what bears its name now is another.
        """
        recorded = orjson.loads(record.body)["model"]
        model = self._registry.get(recorded["name"], recorded["version"])
        if model.manifest.digest != recorded["manifest_sha256"]:
            raise Conflict(
                f"record {record.id} was made by {model.manifest.reference} with manifest "
                f"{recorded['manifest_sha256']}, but the store holds {model.manifest.digest}."
            )
        return model

    def inputs(self, record_id: str) -> dict[str, NDArray[Any]]:
        """The recorded inputs of a prediction, batch on axis 0.

        Raises:
            Conflict: they were erased, or are not what the record committed to.
        """
        body = orjson.loads(self._records.get(record_id).body)
        return {
            one["name"]: decode_array(self._records.payload(record_id, one["name"]))
            for one in body["inputs"]
        }
