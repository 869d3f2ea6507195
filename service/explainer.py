"""The explaining process: a recorded prediction in, a recorded explanation out."""

from __future__ import annotations

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from service import tracing
from service.audit.arrays import decode_array
from service.audit.opening import open_records
from service.audit.recorder import Recorder
from service.errors import (
    GlasslineError,
    UnknownRecord,
)
from service.explain.drawing import drawn, parts
from service.explain.evidence import with_evidence
from service.explain.parameters import ExplainParameters
from service.explain_jobs import JobStore
from service.explain_queue import packed
from service.explain_worker import JobWorker
from service.inference.devices import gpu_of
from service.inference.registry import Registry
from service.modalities.choice import explainer_of
from service.past import Past
from service.replay import Replayer
from service.reports.reporter import Reporter

if TYPE_CHECKING:
    from service.audit.store import RecordStore, StoredRecord
    from service.settings import Settings

Progress = Callable[[int, int], None]
#: Explanations whose identical twins are answered from their record.
REMEMBERED = 1024


class RecordExplainer:
    """Explains predictions from their records, one at a time.

    Args:
        registry: this process's own models.
        records: where predictions and their inputs are.
        recorder: where explanations go.
    """

    def __init__(self, registry: Registry, records: RecordStore, recorder: Recorder) -> None:
        self._past = Past(registry, records)
        self._replayer = Replayer(self._past, records, recorder)
        self._reporter = Reporter(self._past, records, recorder)
        self._records = records
        self._recorder = recorder
        self._one_at_a_time = threading.Lock()
        #: by `_key`, ids of the explanations made last
        self._made: OrderedDict[str, str] = OrderedDict()
        self._closing: list[Callable[[], object]] = []

    @classmethod
    def open(cls, settings: Settings, number: int = 0) -> RecordExplainer:
        """An explainer with a registry and a record writer of its own.

        Args:
            settings: of this process.
            number: of this process among its like, from 0.

        Raises:
            Unavailable: the record store cannot be opened.
        """
        tracing.start("glassline-explainer")
        # At this process's low priority nobody should have to wait for a record.
        records, writer = open_records(settings, starts=False)
        recorder = Recorder(writer, "glassline-explainer")
        explainer = cls(
            Registry.of(settings, recorder, gpu_of(number), serves=False), records, recorder
        )
        jobs = JobStore.of(settings)
        worker = JobWorker(jobs, explainer.explain, settings.explain_job_timeout_s)
        explainer._closing = [worker.close, jobs.close, writer.close, records.close, tracing.stop]
        return explainer

    def close(self) -> None:
        """Write what waits, and close what `open` opened."""
        for close in self._closing:
            close()

    def explained(
        self, record_id: str, parameters: dict[str, Any], timeout_s: float, trace: dict[str, str]
    ) -> dict[str, Any]:
        """`explain` between processes: JSON in and out, errors packed, the trace continued."""
        try:
            with tracing.continued("explain", trace) as span:
                answer = self.explain(record_id, ExplainParameters(**parameters), timeout_s)
                span["glassline.model.name"] = answer["model_name"]
                span["glassline.model.version"] = answer["model_version"]
                span["glassline.explanation.id"] = answer["explanation_id"]
                return answer
        except GlasslineError as error:
            return packed(error)

    def replayed(self, record_id: str, caller: str, timeout_s: float) -> dict[str, Any]:
        """`Replayer.replay` between processes: errors packed."""
        try:
            with self._one_at_a_time:
                return self._replayer.replay(record_id, caller, timeout_s)
        except GlasslineError as error:
            return packed(error)

    def rendered(self, explanation_id: str, media_type: str) -> dict[str, Any]:
        """`render` between processes: `body` is base64, errors packed."""
        return _carried(lambda: self.render(explanation_id, media_type))

    def reported(self, record_id: str, caller: str, media_type: str) -> dict[str, Any]:
        """`Reporter.report` between processes: `body` is base64, errors packed."""
        return _carried(lambda: self._reporter.report(record_id, caller, media_type))

    def explain(
        self,
        record_id: str,
        parameters: ExplainParameters,
        timeout_s: float,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Explain one row of a recorded prediction and record the explanation.

        Identical requests share one: the answer then names the prediction that it was made for,
        another one with the same input, model and parameters.

        Args:
            record_id: id of a prediction.
            parameters: what was asked for; the model's defaults fill the rest.
            timeout_s: seconds, from now.
            progress: called with (samples done, samples in all).

        Raises:
            UnknownRecord: no such record.
            Conflict: not a prediction, or its model is not the one that made it any more.
            ExplanationError: this model or this input cannot be explained so.
            DeadlineExceeded: not done in time.
        """
        deadline = time.monotonic() + timeout_s
        with self._one_at_a_time:
            prediction = self._past.prediction(record_id)
            model = self._past.model_of(prediction)
            inputs = self._past.inputs(record_id)
            explainer = explainer_of(model, inputs, parameters.row, parameters)
            if twin := self._shared(explainer.key):
                return self._answer_shared(twin, prediction, parameters.row)
            started_at, start = datetime.now(UTC), time.perf_counter()
            explanation = explainer.explain(progress, deadline)
            evidence = explainer.evidence()
            explanation_id = self._recorder.explanation(
                model.recorded,
                prediction,
                parameters.row,
                explainer.subject,
                parameters.model_dump(mode="json"),
                explanation,
                evidence,
                started_at,
            )
            r2 = [one.r2 for one in explanation.explanations]
            model.metrics.explained(time.perf_counter() - start, explanation.samples_used, r2)
            self._remember(explainer.key, explanation_id)
        named = {"name": model.manifest.name, "version": model.manifest.version}
        content = with_evidence(explanation.to_json(), evidence)
        return _answer(explanation_id, record_id, named, content)

    def _shared(self, key: str) -> str | None:
        """Id of an explanation of the same input by the same model in the same way."""
        explanation_id = self._made.get(key)
        if explanation_id is not None:
            self._made.move_to_end(key)
        return explanation_id

    def _remember(self, key: str, explanation_id: str) -> None:
        self._made[key] = explanation_id
        if len(self._made) > REMEMBERED:
            self._made.popitem(last=False)

    def _answer_shared(self, twin: str, prediction: StoredRecord, row: int) -> dict[str, Any]:
        """A twin's explanation; whoever looks at this prediction later finds it there."""
        answer = self._answer(twin)
        if answer["record_id"] != prediction.id:
            caller = orjson.loads(prediction.body)["caller"]
            said = {"explanation": twin, "row": row}
            self._recorder.about("shared-explanation", prediction, caller, said)
        return answer

    def _answer(self, explanation_id: str) -> dict[str, Any]:
        """A recorded explanation, as it was answered when it was made."""
        body = orjson.loads(self._records.get(explanation_id).body)
        content = self._content(explanation_id)
        return _answer(explanation_id, body["explains"], body["model"], content)

    def _content(self, explanation_id: str) -> dict[str, Any]:
        content: dict[str, Any] = orjson.loads(self._records.payload(explanation_id, "explanation"))
        return content

    def render(self, explanation_id: str, media_type: str) -> bytes:
        """A recorded explanation as JSON, PNG overlay or HTML report.

        Raises:
            UnknownRecord: no explanation has this id.
        """
        record = self._records.get(explanation_id)
        if record.kind != "explanation":
            raise UnknownRecord(
                f"record {explanation_id} is a {record.kind}, not an explanation. "
                f"Read it at /audit/records/{explanation_id}."
            )
        body = orjson.loads(record.body)
        if media_type == "application/json":
            return orjson.dumps(self._answer(explanation_id))
        content = self._content(explanation_id)
        arrays = {
            name: decode_array(self._records.payload(explanation_id, name))
            for name in parts(content)
        }
        return drawn(content, arrays, {"explanation_id": explanation_id, **body}, media_type)


def _carried(make: Callable[[], bytes]) -> dict[str, Any]:
    """Bytes, or the error that came instead, as they go between processes."""
    try:
        return {"body": base64.b64encode(make()).decode("ascii")}
    except GlasslineError as error:
        return packed(error)


def _answer(
    explanation_id: str,
    record_id: str,
    model: dict[str, Any],
    content: dict[str, Any],
) -> dict[str, Any]:
    return {
        "model_name": model["name"],
        "model_version": model["version"],
        "explanation_id": explanation_id,
        "record_id": record_id,
        "links": {
            "explanation": f"/v2/explanations/{explanation_id}",
            "prediction": f"/audit/records/{record_id}",
        },
        "explanation": content,
    }
