"""What a report says of the decision, of the people, and of what was done since."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.audit.arrays import decode_array, elements
from service.audit.bundle import Erased
from service.audit.record import timestamp
from service.audit.store import RecordStore
from service.errors import Conflict
from service.explain.drawing import drawn, parts
from service.explain.legend import number
from service.past import fail_safe_of
from service.reports.blocks import Block, Fact, Facts, Grid, Literal, Picture, Section, Text, flat
from service.reports.inputs import input_blocks
from service.reports.material import MOST_BESIDE, Material, Told

#: Rows of a batch, and values of a row, that are told.
_ROWS, _VALUES = 50, 12
#: Reads that are told one by one.
_READS = 20


def decision(material: Material) -> Section:
    """What was decided, when, and who asked."""
    record, prediction = material.record, material.prediction
    blocks: list[Block] = []
    if prediction is not None:
        blocks.append(answers(prediction))
    body = (prediction or record).body
    facts = [
        Fact("Prediction record" if prediction else "Record", (prediction or record).id,
             literal=True),
        Fact("Kind", record.kind),
        *_lateness(body),
        Fact("Asked by", body.get("caller", "not said"), "name of the API key, or the address "
             "where no key was needed; no person's signature"),
        Fact("Begun, ended", " to ".join(t for t in (body.get("started_at"), body.get("ended_at"))
                                         if t), "UTC, by the server's clock"),
        Fact("Request", body.get("request_id") or "none", literal=True),
        Fact("Trace", body.get("trace_id") or "none", literal=True),
        Fact("Answered by", _service(body)),
    ]  # fmt: skip
    return Section("What was decided", [*blocks, Facts(facts)])


def _lateness(body: Mapping[str, Any]) -> list[Fact]:
    """That the answer was late, and whether it was the model's own."""
    said = body.get("deadline")
    if said is None:
        return []
    when = f"{said['waited_ms']:g} ms after the request, whose budget was {said['ms']:g} ms"
    if fail_safe_of(body) is None:
        return [Fact("Late", when, "the model's own answer, waited for")]
    return [Fact("Fail-safe", f"the model had not answered {when}",
                 "what was answered was set beforehand; the model did not decide it")]  # fmt: skip


def answers(prediction: Told) -> Block:
    """Labels with their confidence, verdicts with their p-values, or the outputs' first values."""
    said = prediction.body["decision"]
    if "p_values" in said:
        return _verdicts(prediction.body)
    if said["labels"]:
        if not said["confidence"]:  # a translation has none, nor has an action
            texts = [(str(n), label) for n, label in enumerate(said["labels"][:_ROWS])]
            return Grid(("row", "answer"), texts)
        pairs = list(zip(said["labels"], said["confidence"], strict=True))
        rows = [(str(n), label, f"{share:.6f}") for n, (label, share) in enumerate(pairs[:_ROWS])]
        return Grid(("row", "class", "confidence"), rows)
    rows = []
    for output in prediction.body["outputs"]:
        values = _values(output)
        shown = ", ".join(number(v) if isinstance(v, float) else str(v) for v in values[:_VALUES])
        more = f" … {len(values) - _VALUES} more" if len(values) > _VALUES else ""
        rows.append((output["name"], " x ".join(map(str, output["shape"])), shown + more))
    return Grid(("output", "shape", "values"), rows)


def _verdicts(body: Mapping[str, Any]) -> Block:
    """What a detector said of each row."""
    said = body["decision"]
    scores = next(_values(one) for one in body["outputs"] if one["name"] == "score")
    rows = [
        (str(n), verdict, number(score), f"{p_value:.4g}")
        for n, (verdict, score, p_value) in enumerate(
            zip(said["labels"][:_ROWS], scores, said["p_values"], strict=False)
        )
    ]
    limit = f"score (anomaly: above {number(said['threshold'])})"
    return Grid(("row", "verdict", limit, f"p-value (budget {said['budget']:.4g})"), rows)


def _values(output: Mapping[str, Any]) -> Sequence[Any]:
    return elements(output["datatype"], base64.b64decode(output["base64"]))


def _service(body: Mapping[str, Any]) -> str:
    said = body.get("service", {})
    if not said:
        return "not said"
    return f"{said['name']} {said['version']} on {said['host']}, process {said['pid']}"


def the_input(material: Material, records: RecordStore) -> Section | None:
    """What the model got."""
    prediction = material.prediction
    if prediction is None:
        return None
    erased = erasures(material)
    blocks = input_blocks(prediction, material.row, material.manifest, records, erased)
    return Section("The input", blocks)


def erasures(material: Material) -> str:
    """When payloads were erased, by whom and why; empty where none was."""
    for told in reversed(material.beside["erasure"]):
        return (
            f"Erased at {told.created_at} by {told.body['caller']}: {told.body['reason']}. The "
            "record committed to it and stands as it was; what it was is not here any more."
        )
    for payload in material.evidence.payloads:
        if isinstance(payload, Erased):  # by age, or with the prediction that was explained
            return f"Erased at {timestamp(payload.at)}. The record stands as it was."
    return ""


def why(material: Material, records: RecordStore) -> Section:
    """The explanation with its picture and its quality, or how to get one."""
    told = material.explanation
    if told is None:
        return Section("Why", [_how_to_explain(material)])
    first, quality, method = _of(told)
    blocks: list[Block] = [_picture(told, records)]
    blocks.append(
        Text(f"The explanation of “{first['name']}”, whose score is {number(first['score'])}. "
             f"Verdict on the explanation itself: {quality['verdict']}.")
    )  # fmt: skip
    blocks.append(Facts([Fact("Explanation record", told.id, _shared(material), literal=True),
                         *_trust(first, quality, method)]))  # fmt: skip
    if len(material.beside["explanation"]) > 1:
        others = [one for one in material.beside["explanation"] if one.id != told.id]
        rows = [(one.created_at, one.id) for one in others]
        blocks += [Text("Further explanations of this prediction:"), Grid(("at", "record"), rows)]
    return Section("Why", blocks)


def _shared(material: Material) -> str:
    """Whether the explanation was made for another prediction."""
    told, prediction = material.explanation, material.prediction
    if told is None or prediction is None or told.body["explains"] == prediction.id:
        return ""
    return (
        f"made for prediction {told.body['explains']}, which had the same input, model and "
        "parameters, and so the same to the bit"
    )


def _of(told: Told) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    return told.body["explanations"][0], told.body["quality"], told.body["method"]


def _how_to_explain(material: Material) -> Text:
    if material.prediction is None:
        return Text("Records of this kind have no explanation.")
    if fail_safe_of(material.prediction.body) is not None:
        return Text("The fail-safe was answered: there is no decision of the model to explain.")
    return Text(
        "Nobody has asked for an explanation yet. The very model version that decided can still "
        f"give one: POST /v2/records/{material.prediction.id}/explain. It then stands in the next "
        "report."
    )


def _picture(told: Told, records: RecordStore) -> Block:
    try:
        content = orjson.loads(records.payload(told.id, "explanation"))
        arrays = {name: decode_array(records.payload(told.id, name)) for name in parts(content)}
        png = drawn(content, arrays, {}, "image/png")
    except Conflict as gone:
        return Text(f"The picture cannot be drawn any more: {gone}")
    # Of a picture the drawing is tall; of all else as wide as a page, and small print is in it.
    share = 0.6 if content["modality"] == "image" else 1.0
    return Picture(png, "What speaks for the answer (blue) and against it (orange).", share)


def _trust(
    first: Mapping[str, Any], quality: Mapping[str, Any], method: Mapping[str, Any]
) -> list[Fact]:
    facts = [
        Fact("Fit, R²", f"{first['r2']:.3f}", "share of the score's variance that the linear "
             "model explains near this input"),
        Fact("Split stability", f"{first['split_stability']:.2f}", "agreement of the strongest "
             "features in two disjoint halves of the samples; 1 = the same"),
        Fact("Local gap", number(first["local_gap"]), "between the linear model and the model, at "
             "the untouched input"),
        Fact("Effective sample size", f"{quality['effective_sample_size']:.0f}",
             f"of {method['samples_used']} samples; {method['stop_reason']}"),
    ]  # fmt: skip
    for name, key in (("Deletion", "deletion_auc"), ("Insertion", "insertion_auc"),
                      ("VSI", "vsi"), ("CSI", "csi")):  # fmt: skip
        if quality.get(key) is not None:
            facts.append(Fact(name, f"{quality[key]:.3f}"))
    asked = "; ".join(f"{name} {value}" for name, value in flat(method["parameters"]))
    return [
        *facts,
        Fact("Method", f"{method['name']}, {method['modality']}, seed {method['seed']}"),
        Fact("Parameters", asked),
    ]


def reviews(material: Material) -> Section:
    """What people said of it, oldest first; the record above is as it was."""
    told = sorted(
        (one for kind in ("review", "override", "correction") for one in material.beside[kind]),
        key=lambda one: one.stored.sequence,
    )
    if not told:
        command = f'glassline audit review {material.record.id} --person "..." --meaning "..."'
        return Section("Reviews", [
            Text("Nobody has reviewed this record. A review is a record beside this one:"),
            Literal(command)])  # fmt: skip
    blocks: list[Block] = [
        Text("Each is a record of its own. What was decided above stands as it was.", quiet=True)
    ]
    blocks += [Facts(_review(one)) for one in told]
    return Section("Reviews", blocks)


def _review(told: Told) -> list[Fact]:
    said = told.body
    facts = [
        Fact(told.kind.capitalize(), f"{said['person']}: {said['meaning']}",
             f"at {told.created_at}, sent with the key of {said['caller']}"),
    ]  # fmt: skip
    if told.kind == "override":
        facts.append(Fact("Another verdict", said["decision"]))
    if told.kind == "correction":
        correction = orjson.dumps(said["correction"], option=orjson.OPT_INDENT_2).decode()
        facts.append(Fact("Should read", correction, literal=True))
    if said.get("comment"):
        facts.append(Fact("Comment", said["comment"]))
    return [*facts, Fact("Record", told.id, literal=True)]


def since(material: Material) -> Section | None:
    """Replays and reads."""
    blocks: list[Block] = []
    if replays := material.beside["replay"]:
        rows = [(one.created_at, one.body["result"]["verdict"], _environment(one), one.id)
                for one in replays]  # fmt: skip
        blocks.append(Grid(("replayed at", "what came out", "environment", "record"), rows))
    if reads := material.beside["read"]:
        blocks.append(Text(f"Before this report, payloads were read {_times(reads)}; the last:"))
        rows = [
            (one.created_at, one.body["caller"], ", ".join(_payloads(one)), one.id)
            for one in reads[-_READS:]
        ]
        blocks.append(Grid(("read at", "by", "what", "record"), rows))
    return Section("What was done with it since", blocks) if blocks else None


def _environment(replay: Told) -> str:
    differs = replay.body["result"]["environment_differs"]
    return f"differs: {', '.join(differs)}" if differs else "as recorded"


def _payloads(read: Told) -> Sequence[str]:
    names: Sequence[str] = read.body.get("names", ())
    return names


def _times(found: Sequence[Told]) -> str:
    more = " or more" if len(found) == MOST_BESIDE else ""
    return "once" if len(found) == 1 else f"{len(found)} times{more}"
