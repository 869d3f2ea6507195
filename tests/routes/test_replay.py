"""What was recorded is done again: the same bits come out, or what differs is named."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.audit.canonical import canonical
from tests.asking import explained, predicted
from tests.running_server import Server, glassline

MODELS = ("lenet-digits", "parts", "thickness", "flow", "rebuild", "words")
#: Every method and every parameter that changes what is drawn, of each modality.
ASKED: dict[str, list[dict[str, Any]]] = {
    "lenet-digits": [
        *({"segmentation": one} for one in ("auto", "grid", "slic")),
        {"hide_color": 0, "target": "3"},
        {"stop_confidence": 0.85, "num_samples": 800},
        {"faithfulness": True, "repeats": 1, "num_samples": 100},
    ],
    "parts": [
        {}, {"discretizer": "none"}, {"discretizer": "none", "sample_around_row": True},
        {"keep_tied_values": True}, {"faithfulness": True, "repeats": 2, "num_samples": 200},
    ],
    "thickness": [{"target": "zero"}, {"discretizer": "none"}],
    "flow": [
        {}, {"background": "noise", "segment_steps": 3}, {"background": "interpolation"},
        {"channels_together": True, "seed": 2**32 - 1},
    ],
    "rebuild": [{}, {"target": "height error"}],
    "words": [{}, {"bag": False}, {"bag": False, "mask_string": "-"}, {"faithfulness": True}],
}  # fmt: skip
CASES = [(model, asked) for model, many in ASKED.items() for asked in many]


def replayed(http: httpx.Client, record: str) -> dict[str, Any]:
    answer = http.post(f"/audit/records/{record}/replay")
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


@pytest.mark.slow
def test_all_explanations_of_every_modality_replay_to_the_bit(
    auditor: httpx.Client, audited: Server
) -> None:
    verdicts = {}
    for seed, (model, asked) in enumerate(CASES):
        _, explanation = explained(
            auditor, model, audited.home, **{"num_samples": 300, "seed": seed, **asked}
        )
        said = replayed(auditor, explanation)
        assert said["kind"] == "explanation"
        verdicts[model, str(asked)] = (said["verdict"], str(said["differing"]), said["reason"])
    others = {case: said for case, said in verdicts.items() if said != ("bit-exact", "[]", None)}
    assert len(verdicts) == len(CASES)
    assert others == {}


@pytest.mark.parametrize("model", MODELS)
def test_predictions_replay_to_the_bit_and_the_replay_is_recorded(
    auditor: httpx.Client, audited: Server, model: str
) -> None:
    record = predicted(auditor, model, audited.home)
    said = replayed(auditor, record)
    assert (said["verdict"], said["largest_difference"]) == ("bit-exact", 0.0)
    assert (said["environment_differs"], said["reason"]) == ({}, None)
    beside = auditor.get(f"/audit/records/{record}").json()["beside"]
    assert [(one["kind"], one["id"]) for one in beside] == [("replay", said["replay_id"])]
    noted = auditor.get(f"/audit/records/{said['replay_id']}").json()["record"]
    assert noted["replays"] == record
    assert noted["result"]["verdict"] == "bit-exact"


@contextmanager
def tampered(
    server: Server, record: str, change: Callable[[dict[str, Any]], None]
) -> Iterator[None]:
    """A record as a database administrator might change it, and as it was afterwards."""
    database = sqlite3.connect(server.home / "records.db", timeout=30)
    (body,) = database.execute("SELECT body FROM records WHERE id = ?", (record,)).fetchone()
    said = json.loads(body)
    change(said)
    try:
        put(database, record, canonical(said))
        yield
    finally:
        put(database, record, body)
        database.close()


def put(database: sqlite3.Connection, record: str, body: bytes) -> None:
    digest = hashlib.sha256(body).hexdigest()
    with database:
        database.execute(
            "UPDATE records SET body = ?, sha256 = ? WHERE id = ?", (body, digest, record)
        )


def test_an_environment_that_was_changed_by_hand_is_named(
    auditor: httpx.Client, audited: Server
) -> None:
    record, explanation = explained(auditor, "parts", audited.home, num_samples=100)

    def older(said: dict[str, Any]) -> None:
        said["environment"]["onnxruntime"]["version"] = "1.2.3"
        said["environment"]["processor"]["name"] = "another"

    for one in (record, explanation):
        with tampered(audited, one, older):
            said = replayed(auditor, one)
            assert said["verdict"] == "bit-exact"  # what came out is the same all the same
            assert set(said["environment_differs"]) == {
                "onnxruntime.version", "processor.name"
            }  # fmt: skip
            assert said["environment_differs"]["onnxruntime.version"]["recorded"] == "1.2.3"


def test_an_answer_that_comes_out_otherwise_is_told_with_its_distance(
    auditor: httpx.Client, audited: Server
) -> None:
    record, explanation = explained(auditor, "parts", audited.home, num_samples=100)

    def by(distance: float) -> Callable[[dict[str, Any]], None]:
        def change(said: dict[str, Any]) -> None:
            said["explanations"][0]["weights"][0][1] += distance
            said["environment"]["python"] = "3.0"

        return change

    with tampered(audited, explanation, by(1e-9)):
        said = replayed(auditor, explanation)
        assert said["verdict"] == "within tolerance"
        assert said["tolerance"] == 1e-5
        assert said["largest_difference"] == pytest.approx(1e-9, rel=1e-3)
        assert said["differing"] == ["explanations"]
        assert "not the one it was made in: python" in said["reason"]
    with tampered(audited, explanation, by(0.5)):
        said = replayed(auditor, explanation)
        assert (said["verdict"], said["largest_difference"]) == ("differs", pytest.approx(0.5))

    def label(said: dict[str, Any]) -> None:
        said["outputs"] = [one for one in said["outputs"] if one["name"] != "label"]

    with tampered(audited, record, label):
        said = replayed(auditor, record)
        assert (said["verdict"], said["differing"]) == ("differs", ["label"])
        assert said["largest_difference"] is None  # a class has no distance
        # and there is no evidence of what is not what was signed
        assert auditor.get(f"/audit/records/{record}/bundle").status_code == 503


def test_what_cannot_be_replayed_says_why(auditor: httpx.Client, audited: Server) -> None:
    record = predicted(auditor, "parts", audited.home)
    replay = replayed(auditor, record)["replay_id"]
    answer = auditor.post(f"/audit/records/{replay}/replay")
    assert (answer.status_code, "is of kind 'replay'" in answer.text) == (409, True)
    for unknown in ("01890a5d-ac96-774b-bcce-b302099a8057", "x", "%00"):
        answer = auditor.post(f"/audit/records/{unknown}/replay")
        assert answer.status_code == 404, unknown

    def other(said: dict[str, Any]) -> None:
        said["model"]["manifest_sha256"] = "0" * 64

    with tampered(audited, record, other):
        answer = auditor.post(f"/audit/records/{record}/replay")
        assert answer.status_code == 409
        assert "not replayable" in answer.json()["error"]
        assert "but the store holds" in answer.json()["error"]

    def gone(said: dict[str, Any]) -> None:
        said["model"]["version"] = "7"

    with tampered(audited, record, gone):
        answer = auditor.post(f"/audit/records/{record}/replay")
        assert answer.status_code == 409
        assert "has no version or alias '7'" in answer.json()["error"]
        recorded = auditor.get(
            "/audit/records", params={"about": record, "kind": "replay", "limit": 1}
        ).json()["records"][0]["id"]
    said = auditor.get(f"/audit/records/{recorded}").json()["record"]["result"]
    assert (said["verdict"], "has no version or alias '7'" in said["reason"]) == (
        "not replayable",
        True,
    )


def test_the_command_line_replays_one_and_all(auditor: httpx.Client, audited: Server) -> None:
    record = predicted(auditor, "thickness", audited.home)

    def audit(*arguments: str) -> tuple[int, str]:
        done = glassline("audit", *arguments, "--url", audited.url, home=audited.home)
        return done.returncode, done.stdout + done.stderr

    status, said = audit("replay", record)
    assert (status, json.loads(said)["verdict"]) == (0, "bit-exact")
    since = auditor.get(f"/audit/records/{record}").json()["record"]["started_at"]
    status, said = audit("replay", "--since", since)
    assert status == 0, said
    assert "bit-exact" in said

    def wrong(told: dict[str, Any]) -> None:
        told["outputs"] = told["outputs"][1:]

    with tampered(audited, record, wrong):
        status, said = audit("replay", "--since", since, "--kind", "prediction")
        assert status == 1
        assert f"{record}: " in said
    status, said = audit("replay")
    assert (status, "wanted the id of a record, or --all" in said) == (1, True)
    status, said = audit("replay", record, "--all")
    assert status == 1
