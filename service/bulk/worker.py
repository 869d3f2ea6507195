"""The work itself: rows in, explanations out, by a model that stays in memory.

Ray makes one `BulkExplainer` a worker process. It takes the way of the explaining process of a
server, `explainer_of`, with a session as that one opens it, so that the bits are the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from numpy.typing import NDArray

from service.audit.arrays import decode_array, encode_array
from service.bulk.layout import ID, ROW, Layout, RowDecoder
from service.errors import CorruptModel, GlasslineError, StoreError
from service.explain.evidence import with_evidence
from service.explain.parameters import ExplainParameters
from service.inference.devices import Device
from service.inference.session import Session
from service.inference.translator import Translator, warm
from service.manifest import Manifest
from service.modalities.choice import explainer_of
from service.store import StoredModel, sha256_of
from service.tasks.task import task_of

#: Figures of `quality` that get a column each.
FIGURES = (
    "r2", "split_stability", "effective_sample_size", "samples_per_segment",
    "deletion_auc", "insertion_auc", "vsi", "csi",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A stored model on its way to a worker.

    `folder` holds its files where the worker sees the same disk; `contents` is Ray's reference
    to their bytes by name for workers that do not, None where all of them do.
    """

    manifest: bytes
    folder: str
    contents: Any = None

    def stored(self) -> StoredModel:
        """The model with its files on this machine, verified.

        Raises:
            CorruptModel: they are not here, or not what the manifest says.
        """
        manifest = Manifest.model_validate_json(self.manifest)
        here = StoredModel(manifest, Path(self.folder))
        if _whole(here):
            return here
        if self.contents is not None:
            import ray

            here = StoredModel(manifest, Path(tempfile.mkdtemp(prefix="glassline-model-")))
            for name, content in ray.get(self.contents).items():
                (here.folder / name).write_bytes(content)
            if _whole(here):
                return here
        raise CorruptModel(f"{manifest.reference}: {here.folder} does not hold what it should.")


def files_of(stored: StoredModel) -> dict[str, bytes]:
    """The contents of a model's files by name."""
    return {name: (stored.folder / name).read_bytes() for name in _digests(stored)}


def _digests(stored: StoredModel) -> dict[str, str]:
    manifest = stored.manifest
    return {p.file: p.sha256 for p in (*manifest.graphs.values(), *manifest.assets.values())}


def _whole(stored: StoredModel) -> bool:
    try:
        return all(sha256_of(stored.folder / n) == wanted for n, wanted in _digests(stored).items())
    except StoreError:
        return False


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A stored model with a warm session: what an explanation needs of one."""

    stored: StoredModel
    session: Session | Translator

    @classmethod
    def of(cls, stored: StoredModel, device: Device, threads: int) -> OpenModel:
        """Open it as a server's registry does; see `warm_session`."""
        return cls(stored, warm(stored, device, threads))

    @property
    def manifest(self) -> Manifest:
        """The contract it was released with."""
        return self.stored.manifest

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.run`."""
        return self.session.run(inputs)


@dataclass(frozen=True, slots=True)
class Task:
    """What every row is asked.

    Attributes:
        layout: where the inputs stand.
        parameters: of each explanation.
        device: where the graph runs.
        threads: as the setting says.
        max_pixels: largest picture.
        timeout_s: seconds that one row may take.
        id_type: Arrow type of the ids.
    """

    layout: Layout
    parameters: ExplainParameters
    device: Device
    threads: int
    max_pixels: int
    timeout_s: float
    id_type: pa.DataType

    @property
    def schema(self) -> pa.Schema:
        """Columns of an explained row."""
        text, number, whole = pa.string(), pa.float64(), pa.int64()
        return pa.schema(
            [
                (ID, self.id_type), (ROW, whole), ("output", text), ("target", text),
                ("answer", text), ("score", number), ("explanation", text),
                *((name, number) for name in FIGURES),
                ("verdict", text), ("samples", whole), ("seed", whole), ("stop_reason", text),
                ("seconds", number), ("error", text),
            ]
        )  # fmt: skip


class BulkExplainer:
    """Explains rows with one model; Ray keeps one of these in each worker process.

    Args:
        files: the model.
        task: what every row is asked.

    Raises:
        CorruptModel, Unavailable: the model cannot be opened here.
    """

    def __init__(self, files: ModelFiles, task: Task) -> None:
        self._task = task
        self._model = OpenModel.of(files.stored(), task.device, task.threads)
        self._answer = task_of(self._model.stored).answer
        self._decoder = RowDecoder(self._model.manifest, task.layout, task.max_pixels)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """These rows explained; a row that is bad has its error and nothing else."""
        return pa.Table.from_pylist([self._row(row) for row in rows.to_pylist()], self._task.schema)

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        try:
            said = self._explained(row)
        except GlasslineError as error:
            said = {"error": str(error)}
        except Exception as error:  # one row must not end all others
            said = {"error": f"internal error ({type(error).__name__}: {error!s:.200})"}
        seconds = time.perf_counter() - start
        seed = self._task.parameters.seed
        return {ID: row[ID], ROW: row[ROW], "seed": seed, "seconds": seconds, **said}

    def _explained(self, row: dict[str, Any]) -> dict[str, Any]:
        parameters = self._task.parameters
        inputs = _as_recorded(self._decoder.inputs(row))
        explainer = explainer_of(self._model, inputs, 0, parameters)
        explanation = explainer.explain(None, time.monotonic() + self._task.timeout_s)
        content = with_evidence(explanation.to_json(), explainer.evidence())
        first, quality = content["explanations"][0], content["quality"]
        return {
            "output": parameters.output or self._model.manifest.outputs[0].name,
            "target": first["name"],
            "answer": _answer(self._answer(self._model.predict(inputs)), self._model.manifest),
            "score": first["score"],
            "explanation": orjson.dumps(content).decode(),
            **{name: quality.get(name) for name in FIGURES},
            "verdict": quality["verdict"],
            "samples": content["samples_used"],
            "stop_reason": content["stop_reason"],
        }


def _as_recorded(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inputs as a record gives them back: that is what a server explains."""
    return {name: decode_array(encode_array(value)) for name, value in inputs.items()}


def _answer(outputs: Mapping[str, NDArray[Any]], manifest: Manifest) -> str:
    """The class or action, or the first output's values as JSON: one number, or a list of them."""
    if manifest.task == "act":
        return str(outputs["action"][0])
    if "label" in outputs:
        return str(outputs["label"][0])
    values = outputs[manifest.outputs[0].name][0].tolist()
    single = isinstance(values, list) and len(values) == 1
    return orjson.dumps(values[0] if single else values).decode()
