"""A file of inputs through Ray Data to a file of explanations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.bulk.cluster import joined
from service.bulk.inputs import Inputs, open_inputs
from service.bulk.layout import ROW, RowDecoder
from service.bulk.parts import Parts
from service.bulk.question import Question
from service.bulk.worker import BulkExplainer, ModelFiles, OpenModel, Task, files_of
from service.errors import InvalidRequest, Unavailable
from service.explain.parameters import ExplainParameters
from service.inference import devices
from service.modalities.choice import explainer_of
from service.settings import Settings
from service.store import StoredModel

#: Called with (rows done, rows that failed, rows in all).
Told = Callable[[int, int, int], None]

#: Seconds of work that go to a worker at once: handing it over costs some 10 ms.
_CHUNK_S, _CHUNK_ROWS = 1.0, 64
#: Chunks that each worker should get at least, so that all end together.
_SHARES = 4
#: Inputs that are in Ray's memory at once; more follow when these are explained.
_WINDOW_BYTES, _WINDOW_CHUNKS = 256 * 1024 * 1024, 4096
#: Seconds between two parts: what a kill costs at most, besides what is being computed.
_PART_S = 2.0
#: Times that a worker may die over the same rows.
_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """One run.

    Attributes:
        inputs: .parquet, .csv, or a folder of pictures.
        out: .parquet to write.
        stored: the model.
        parameters: of every row's explanation.
        workers: processes; None = as many as Ray offers CPUs (on CUDA: GPUs).
        address: of a Ray cluster; None = this machine alone.
    """

    inputs: Path
    out: Path
    stored: StoredModel
    parameters: ExplainParameters
    workers: int | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: rows in all, rows found done already, rows that failed, and seconds."""

    rows: int
    found: int
    failed: int
    seconds: float


def explain_all(asked: Asked, settings: Settings, told: Told) -> Outcome:
    """Explain every row of a file.

    Rows that are done already are not computed again; see `Parts`.

    Args:
        asked: what to do.
        settings: device, threads and limits, as a server's explaining process has them.
        told: called as rows become done, first of all with those that are.

    Raises:
        InvalidRequest: the inputs or the parameters do not fit the model.
        NotFound: there are no such inputs.
        Conflict: the output belongs to another question.
        Unavailable: the model or the cluster does not answer.
        StoreError: the output cannot be written.
    """
    start = time.monotonic()
    inputs = open_inputs(asked.inputs, asked.stored.manifest)
    model = OpenModel.of(asked.stored, settings.device, settings.threads)
    task = Task(
        inputs.layout, asked.parameters, settings.device, settings.threads,
        settings.max_image_pixels, settings.explain_job_timeout_s, inputs.id_type,
    )  # fmt: skip
    _check(inputs, model, task)
    question = Question(
        inputs.sha256, inputs.rows, model.manifest, asked.parameters,
        model.session.provider, settings.threads,
    )  # fmt: skip
    with Parts(asked.out, question.to_json(), inputs.rows) as parts:
        found = int(parts.done.sum())
        told(found, parts.failed, inputs.rows)
        if not parts.finished:
            if found < inputs.rows:
                _work(asked, inputs, model, task, parts, told)
            parts.join()
        return Outcome(inputs.rows, found, parts.failed, time.monotonic() - start)


def _check(inputs: Inputs, model: OpenModel, task: Task) -> None:
    """Refuse now what every row would be refused for: parameters that do not fit the model.

    The first row that can be read is asked, and nothing is computed.
    """
    decoder = RowDecoder(model.manifest, task.layout, task.max_pixels)
    for row in next(inputs.pieces()).slice(0, _CHUNK_ROWS).to_pylist():
        try:
            values = decoder.inputs(row)
        except InvalidRequest:
            continue
        explainer_of(model, values, 0, task.parameters)
        return


def _work(
    asked: Asked, inputs: Inputs, model: OpenModel, task: Task, parts: Parts, told: Told
) -> None:
    """Explain the rows that are not done, window by window."""
    with joined(asked.address, asked.workers) as offered:
        import ray
        from ray.exceptions import RayError

        on_gpu = model.session.provider == devices.CUDA
        workers = asked.workers or max(1, int(offered.get("GPU" if on_gpu else "CPU", 1)))
        contents = ray.put(files_of(asked.stored)) if asked.address else None
        manifest = asked.stored.manifest.canonical()
        files = ModelFiles(manifest, str(asked.stored.folder), contents)
        size = _chunk_rows(model, task, int((~parts.done).sum()), workers)
        try:
            for window in _windows(inputs, parts.done, size):
                results = _explained(window, files, task, workers, on_gpu)
                _keep(results, parts, told)
        except RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise Unavailable(
                f"Ray: a worker failed ({reason:.300}). {int(parts.done.sum())} of {inputs.rows} "
                "rows are kept; the same command goes on from there."
            ) from None


def _chunk_rows(model: OpenModel, task: Task, rows: int, workers: int) -> int:
    """Rows that go to a worker at once, by an estimate of how long they take."""
    defaults = model.manifest.explainer
    samples = task.parameters.num_samples or (defaults.num_samples if defaults else 1)
    seconds = model.session.row_seconds * samples * (1 + task.parameters.repeats)
    enough = int(_CHUNK_S / max(seconds, 1e-3))
    return max(1, min(enough, _CHUNK_ROWS, rows // (workers * _SHARES)))


def _windows(inputs: Inputs, done: NDArray[np.bool_], size: int) -> Iterator[list[pa.Table]]:
    """The rows that are not done, in chunks, as many as may be in Ray's memory at once."""
    window: list[pa.Table] = []
    held = 0
    for piece in inputs.pieces():
        wanted = np.flatnonzero(~done[piece[ROW].to_numpy()])
        for first in range(0, len(wanted), size):
            # Taken, not sliced: a slice would carry the whole piece along.
            chunk = piece.take(wanted[first : first + size])
            window.append(chunk)
            held += chunk.nbytes
            if held >= _WINDOW_BYTES or len(window) >= _WINDOW_CHUNKS:
                yield window
                window, held = [], 0
    if window:
        yield window


def _explained(
    window: list[pa.Table], files: ModelFiles, task: Task, workers: int, on_gpu: bool
) -> Iterator[pa.Table]:
    """The chunks of a window explained, in whatever order they become done."""
    import ray.data

    return iter(
        ray.data.from_arrow(window)
        .map_batches(
            BulkExplainer,
            fn_constructor_kwargs={"files": files, "task": task},
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(window))),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=1,
            num_gpus=1 if on_gpu else None,
            ray_remote_args_fn=lambda: {"max_restarts": _RETRIES, "max_task_retries": _RETRIES},
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )


def _keep(results: Iterator[Any], parts: Parts, told: Told) -> None:
    """Write results down, some seconds of them at a time, and whatever is at hand at the end."""
    waiting: list[pa.Table] = []
    written = time.monotonic()
    fresh, failed = 0, 0
    try:
        for table in results:
            waiting.append(table)
            fresh += len(table)
            failed += len(table) - table["error"].null_count
            told(int(parts.done.sum()) + fresh, parts.failed + failed, len(parts.done))
            if time.monotonic() - written >= _PART_S:
                parts.add(pa.concat_tables(waiting))
                waiting, fresh, failed, written = [], 0, 0, time.monotonic()
    finally:
        if waiting:
            parts.add(pa.concat_tables(waiting))
