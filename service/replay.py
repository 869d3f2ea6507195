"""Do again what a record tells of, and say whether the same came out."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from service.audit.arrays import described
from service.audit.canonical import canonical
from service.audit.decided import decided
from service.audit.recorder import Recorder
from service.audit.store import RecordStore, StoredRecord
from service.errors import Conflict, NotFound
from service.explain.evidence import with_evidence
from service.explain.parameters import ExplainParameters
from service.inference.registry import LoadedModel
from service.modalities.choice import explainer_of
from service.past import Past, fail_safe_of
from service.tasks.deadline import FailSafe

Verdict = Literal["bit-exact", "within tolerance", "differs", "not replayable"]
REPLAYED = ("prediction", "explanation")
#: Of an explanation, with its digests.
_COMPARED = ("explanations", "quality", "evidence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay found.

    Attributes:
        verdict: `within tolerance` is that of the model's release (`manifest.parity`).
        tolerance: absolute, in the unit of the scores.
        difference: the largest absolute one; None where values cannot be compared.
        differing: names of what differs; outputs that are recorded by their digests among them,
            which say nothing of how far.
        environment: fields that are not as they were, with what they were and are.
        reason: why it could not be replayed, or is not the same.
        model_says: where the fail-safe was answered, what the model decides of each row, or the
            values that it gives.
    """

    verdict: Verdict
    tolerance: float | None = None
    difference: float | None = None
    differing: tuple[str, ...] = ()
    environment: Mapping[str, tuple[Any, Any]] | None = None
    reason: str | None = None
    model_says: tuple[Any, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As answered and recorded."""
        return {
            "verdict": self.verdict,
            "tolerance": self.tolerance,
            "largest_difference": self.difference,
            "differing": list(self.differing),
            "environment_differs": {
                name: {"recorded": then, "now": now}
                for name, (then, now) in (self.environment or {}).items()
            },
            "reason": self.reason,
            **({} if self.model_says is None else {"model_says": list(self.model_says)}),
        }


class Replayer:
    """Replays predictions and explanations with the recorded model, inputs and parameters.

    Args:
        past: records with their models and inputs.
        records: where explanations' records are.
        recorder: every replay is recorded, those that could not be made as well.
    """

    def __init__(self, past: Past, records: RecordStore, recorder: Recorder) -> None:
        self._past = past
        self._records = records
        self._recorder = recorder

    def replay(self, record_id: str, caller: str, timeout_s: float) -> dict[str, Any]:
        """Replay a record and record how it went.

        Returns:
            `replay_id`, `record_id`, `kind`, and what `Outcome.to_json` says.

        Raises:
            UnknownRecord: there is no such record.
            Conflict: it is of a kind that cannot be replayed, or its input was erased, or its
                model is gone; the last two are recorded.
            DeadlineExceeded: an explanation was not done in time.
        """
        record = self._records.get(record_id)
        if record.kind not in REPLAYED:
            said = orjson.loads(record.body).get("prediction")
            raise Conflict(
                f"record {record_id} is of kind '{record.kind}'; only predictions and "
                "explanations can be replayed."
                + (f" Replay the prediction that it is of: {said}." if said else "")
            )
        again = self._prediction if record.kind == "prediction" else self._explanation
        try:
            outcome, refused = self._outcome(record, again, timeout_s), None
        except (Conflict, NotFound) as error:
            outcome, refused = Outcome("not replayable", reason=str(error)), error
        replay_id = self._recorder.about(
            "replay", record, caller, {"replays": record.id, "result": outcome.to_json()}
        )
        if refused is not None:
            raise Conflict(f"not replayable: {refused} Recorded as {replay_id}.") from None
        return {
            "replay_id": replay_id,
            "record_id": record.id,
            "kind": record.kind,
            **outcome.to_json(),
        }

    def _outcome(
        self,
        record: StoredRecord,
        again: Callable[[Mapping[str, Any], LoadedModel, float], Outcome],
        timeout_s: float,
    ) -> Outcome:
        body = orjson.loads(record.body)
        model = self._past.model_of(record)
        found = again(body, model, time.monotonic() + timeout_s)
        now = orjson.loads(canonical(model.recorded.environment))
        changed = dict(differences(body["environment"], now))
        return Outcome(
            found.verdict,
            found.tolerance,
            found.difference,
            found.differing,
            changed,
            found.reason or _why(found.verdict, changed),
            found.model_says,
        )

    def _prediction(self, body: Mapping[str, Any], model: LoadedModel, deadline: float) -> Outcome:
        _ = deadline  # the bare graph is done in milliseconds
        inputs = self._past.inputs(body["id"])
        answers = model.answer(model.predict(inputs))
        if (value := fail_safe_of(body)) is not None:
            return self._stood_in(body, model, inputs, answers, value)
        return self._compared(body, model, answers)

    def _stood_in(
        self,
        body: Mapping[str, Any],
        model: LoadedModel,
        inputs: Mapping[str, NDArray[Any]],
        answers: Mapping[str, NDArray[Any]],
        value: Any,
    ) -> Outcome:
        """A fail-safe again, and what the model says that was too late then."""
        value = tuple(value) if isinstance(value, list) else value
        again = FailSafe(model.manifest, value).outputs(inputs)
        said = orjson.loads(orjson.dumps(decided(model.manifest, answers).decision))["labels"]
        first = answers[model.manifest.outputs[0].name]
        outcome = self._compared(body, model, again or {})
        return replace(
            outcome,
            reason="the fail-safe was answered, for the model was late: that is what was done "
            "again; model_says is the model's own answer to the recorded input",
            model_says=tuple(said or first.tolist()),
        )

    def _compared(
        self, body: Mapping[str, Any], model: LoadedModel, answers: Mapping[str, NDArray[Any]]
    ) -> Outcome:
        recorded = {one["name"]: one for one in body["outputs"]}
        differing, largest = [], 0.0
        for name, values in answers.items():
            then = recorded.get(name)
            if then is None or then["sha256"] != described(name, values, content=False)["sha256"]:
                differing.append(name)
                largest = max(largest, _distance(then, values))
        return _judged(differing, largest, model.manifest.parity.tolerance)

    def _explanation(self, body: Mapping[str, Any], model: LoadedModel, deadline: float) -> Outcome:
        inputs = self._past.inputs(body["explains"])
        asked = ExplainParameters(**body["method"]["asked"])
        explainer = explainer_of(model, inputs, asked.row, asked)
        explained = explainer.explain(None, deadline)
        said = orjson.loads(orjson.dumps(with_evidence(explained.to_json(), explainer.evidence())))
        then = {name: body[name] for name in _COMPARED}
        then |= {f"digest of {name}": one for name, one in body["method"]["digests"].items()}
        now = {name: said[name] for name in _COMPARED}
        now |= {f"digest of {name}": one for name, one in said["digests"].items()}
        differing = [
            name for name in then | now if canonical(then.get(name)) != canonical(now.get(name))
        ]
        largest = _furthest(body["explanations"], said["explanations"])
        return _judged(differing, largest, model.manifest.parity.tolerance)


def differences(then: Any, now: Any, name: str = "") -> list[tuple[str, tuple[Any, Any]]]:
    """Fields that are not the same in two JSON values, by their dotted names."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            found
            for key in sorted({*then, *now})
            for found in differences(then.get(key), now.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if then == now else [(name, (then, now))]


def _judged(differing: list[str], largest: float, tolerance: float) -> Outcome:
    verdict: Verdict = "bit-exact"
    if differing:
        verdict = "within tolerance" if largest <= tolerance else "differs"
    shown = largest if np.isfinite(largest) else None
    return Outcome(verdict, tolerance, shown, tuple(differing))


def _why(verdict: Verdict, changed: Mapping[str, Any]) -> str | None:
    if verdict == "bit-exact":
        return None
    if changed:
        return f"the environment is not the one it was made in: {', '.join(changed)}"
    return (
        "the environment is the recorded one; a prediction may have been computed in one batch "
        "with others, which can move the last bits"
    )


def _distance(then: Mapping[str, Any] | None, now: NDArray[Any]) -> float:
    """The largest absolute difference between a recorded output and this one."""
    if then is None or list(now.shape) != then["shape"] or now.dtype.kind != "f":
        return np.inf
    if "base64" not in then:
        return 0.0  # recorded by its digest: that it differs is told, not by how much
    raw = np.frombuffer(base64.b64decode(then["base64"]), now.dtype.newbyteorder("<"))
    gap = np.abs(raw.reshape(now.shape).astype(np.float64) - now.astype(np.float64))
    return float(gap.max(initial=0.0))


def _furthest(then: list[Any], now: list[Any]) -> float:
    """The largest difference of a weight, score or intercept; infinite where others are named."""
    numbers = [_numbers(one) for one in (then, now)]
    if [name for name, _ in numbers[0]] != [name for name, _ in numbers[1]]:
        return np.inf
    pairs = zip(*([value for _, value in one] for one in numbers), strict=True)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _numbers(value: Any, name: str = "") -> list[tuple[str, float]]:
    """Every number in a JSON value by its place; everything else is part of the place's name."""
    if isinstance(value, dict):
        return [found for key in sorted(value) for found in _numbers(value[key], f"{name}.{key}")]
    if isinstance(value, list):
        return [f for at, one in enumerate(value) for f in _numbers(one, f"{name}[{at}]")]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return [(f"{name}={value}", 0.0)]
    return [(name, float(value))]
