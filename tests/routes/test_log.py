"""Whoever checks the log from outside: proofs over HTTP, witnesses, keys that change, erasure."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import uvicorn
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from service import settings as configuration
from service.audit.bundle import Erased, bundle
from service.audit.checkpoint import Checkpoint, SignedNote
from service.audit.keys import WITNESS_TYPE, PublicKey
from service.audit.keyset import KeySet
from service.audit.log import AuditLog
from service.audit.log_writer import LogWriter
from service.audit.merkle_proof import verify_consistency, verify_inclusion
from service.audit.record import Payload, build, new_id
from service.audit.recorder import Recorder
from service.audit.writer import RecordWriter
from service.cli import app
from service.routes.control import control_app
from service.serving import Serving
from tests.running_server import free_port


@dataclass
class Plant:
    """The control routes on a log of their own, over HTTP."""

    home: Path
    url: str
    log: LogWriter

    def records(self, count: int = 1, parent: str | None = None) -> str:
        """Append records; the id of the last."""
        kind = "prediction" if parent is None else "explanation"
        group = [
            build(
                kind, new_id(), datetime.now(UTC), {"number": n}, {"parent_id": parent},
                (Payload("x", "text/plain", b"input"),),
            )
            for n in range(count)
        ]  # fmt: skip
        self.log.append(group)
        return group[-1].id


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    home = tmp_path / "home"
    monkeypatch.setenv("GLASSLINE_HOME", str(home))
    monkeypatch.setenv("GLASSLINE_LOG_ORIGIN", "plant.example/line-3")
    configuration.load.cache_clear()
    log = LogWriter.of(configuration.load())
    writer = RecordWriter(log)
    serving = SimpleNamespace(records=log.store, recorder=Recorder(writer, "glassline"))
    routes = control_app(cast("Serving", serving))

    @routes.middleware("http")
    async def named(request: Any, answer: Any) -> Any:  # what the gate does in a whole server
        request.state.caller = "auditor"
        return await answer(request)

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(routes, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Plant(home, f"http://127.0.0.1:{port}", log)
    server.should_exit = True
    thread.join()
    writer.close()
    log.store.close()
    configuration.load.cache_clear()


@pytest.fixture
def http(plant: Plant) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=plant.url, timeout=60, trust_env=False) as client:
        yield client


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def nodes(said: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(node) for node in said["path"]]


def test_what_was_answered_is_proved_at_once(http: httpx.Client, plant: Plant) -> None:
    keys = KeySet.from_json(http.get("/audit/keys").content)
    old = Checkpoint.parse(SignedNote.parse(http.get("/audit/checkpoint").content).text)
    record_id = plant.records(20)
    answer = http.get("/audit/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    note = SignedNote.parse(answer.content)
    assert note.signed_by(keys.active())
    new = Checkpoint.parse(note.text)
    assert new.origin == keys.origin == "plant.example/line-3"
    asked: dict[str, Any] = {"id": record_id, "size": new.size}
    said = http.get("/audit/proof/inclusion", params=asked).json()
    body = plant.log.store.get(record_id).body
    verify_inclusion(body, said["leaf_index"], said["tree_size"], nodes(said), new.root)
    by_place = {"index": said["leaf_index"], "size": new.size}
    assert http.get("/audit/proof/inclusion", params=by_place).json() == said
    said = http.get("/audit/proof/consistency", params={"from": old.size, "to": new.size}).json()
    verify_consistency(old.size, old.root, new.size, new.root, nodes(said))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("inclusion", "wanted either id or index"),
        ("inclusion?id=01890a5d-ac96-774b-bcce-b302099a8057&index=1", "wanted either id or index"),
        ("inclusion?index=-1", "greater than or equal to 0"),
        ("inclusion?index=x", "valid integer"),
        ("inclusion?index=9223372036854775808", "less than"),
        ("inclusion?index=999999", "index 999999, but a log of"),
        ("inclusion?index=0&size=999999", "size 999999"),
        ("inclusion?index=0&size=0", "a log of 0 records"),
        ("consistency", "from"),
        ("consistency?from=1.5", "valid integer"),
        ("consistency?from=999999", "from size 999999"),
        ("consistency?from=2&to=1", "from size 2 to 1"),
        ("consistency?from=0&to=-1", "greater than or equal to 0"),
    ],
)
def test_malformed_proof_parameters_are_refused_in_words(
    plant: Plant, http: httpx.Client, path: str, said: str
) -> None:
    plant.records(3)
    answer = http.get(f"/audit/proof/{path}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_proof_of_an_unknown_record_is_404(http: httpx.Client) -> None:
    for record_id in ("01890a5d-ac96-774b-bcce-b302099a8057", "nobody", "\u0000"):
        answer = http.get("/audit/proof/inclusion", params={"id": record_id})
        assert answer.status_code == 404


def witness(plant: Plant, folder: Path) -> Result:
    asked = ("audit", "witness", plant.url, "--once", "--state", str(folder))
    return run(*asked, "--name", "auditor.example/w1")


def trusted_witness(plant: Plant, folder: Path) -> str:
    """A witness that the plant takes cosignatures of; its verifier key."""
    stranger = witness(plant, folder)
    assert "glassline audit keys trust" in str(stranger.exception)
    vkey = stranger.output.split("verifier key: ")[1].split()[0]
    assert run("audit", "keys", "trust", vkey).exit_code == 0
    return vkey


def test_a_witness_cosigns_what_grows_and_the_server_hands_it_out(
    plant: Plant, http: httpx.Client, tmp_path: Path
) -> None:
    plant.records(2)
    assert http.get("/audit/checkpoint/cosigned").status_code == 204
    vkey = trusted_witness(plant, tmp_path / "w1")
    assert (tmp_path / "w1/key.pem").stat().st_mode & 0o777 == 0o600
    record_id = plant.records(5)
    done = witness(plant, tmp_path / "w1")
    assert done.exit_code == 0, done.output
    assert "cosigned 8 records, 6 more" in done.output  # the key that was trusted is a record too
    note = SignedNote.parse(http.get("/audit/checkpoint/cosigned").content)
    assert note.cosigned_by(PublicKey.from_vkey(vkey, WITNESS_TYPE)) is not None
    assert str(note).encode() == (tmp_path / "w1/checkpoint").read_bytes()
    plant.records()  # the newest checkpoint is not cosigned yet; the evidence takes the one that is
    assert AuditLog(plant.log.store).evidence(record_id).checkpoint == note
    bundle(AuditLog(plant.log.store).evidence(record_id))


def test_nobody_else_gets_a_cosignature_in(
    plant: Plant, http: httpx.Client, tmp_path: Path
) -> None:
    plant.records(2)
    trusted_witness(plant, tmp_path / "w1")
    assert witness(plant, tmp_path / "w1").exit_code == 0
    note = http.get("/audit/checkpoint/cosigned").text
    for changed in (note.replace("line-3", "line-4"), note.replace("\n3\n", "\n2\n"), "x", ""):
        assert http.post("/audit/cosignatures", content=changed).status_code == 400
    unsigned = http.get("/audit/checkpoint").content
    assert http.post("/audit/cosignatures", content=unsigned).status_code == 403
    assert http.post("/audit/cosignatures", content=b"x" * 300_000).status_code == 413
    assert witness(plant, tmp_path / "other").exit_code == 1
    assert http.get("/audit/checkpoint/cosigned").text == note


@pytest.mark.parametrize("how", ["shrunk", "rewritten"])
def test_a_witness_refuses_a_fork_and_keeps_both_checkpoints(
    how: str, plant: Plant, tmp_path: Path
) -> None:
    """An operator who has the key and the database makes a log that never was."""
    folder = tmp_path / "w1"
    plant.records(3)
    trusted_witness(plant, folder)
    plant.records(3)
    assert witness(plant, folder).exit_code == 0
    with plant.log.store.engine.begin() as database:
        for statement in ("DELETE FROM tiles", "DELETE FROM checkpoints",
                          "UPDATE log SET size = 0", "DELETE FROM payloads",
                          "DELETE FROM records WHERE sequence > 4"):  # fmt: skip
            database.execute(text(statement))
        if how == "rewritten":
            forged = "UPDATE records SET body = CAST(replace(body, '1', '2') AS BLOB)"
            database.execute(text(f"{forged} WHERE sequence = 2"))
    again = LogWriter.of(configuration.load())
    again.start()  # builds its tree anew and signs it properly
    again.store.close()
    if how == "rewritten":
        plant.records(6)
    refused = witness(plant, folder)
    assert refused.exit_code == 1
    assert ("has shrunk" if how == "shrunk" else "was forked") in str(refused.exception)
    (kept,) = folder.glob("fork-*")
    before, now = (SignedNote.parse((kept / f"seen-{x}").read_bytes()) for x in ("before", "now"))
    assert Checkpoint.parse(before.text).root != Checkpoint.parse(now.text).root
    keys = KeySet.read(folder / "keys.json")
    assert before.signed_by(keys.active())  # the operator cannot deny either
    assert now.signed_by(keys.active())
    assert SignedNote.parse((folder / "checkpoint").read_bytes()) == before  # still remembered


def test_whoever_appends_follows_a_rotation_and_a_revocation(
    plant: Plant, http: httpx.Client
) -> None:
    log = AuditLog(plant.log.store)
    first = plant.records()
    before = log.keys().active()
    rotated = run("audit", "keys", "rotate")
    assert rotated.exit_code == 0, rotated.output
    second = plant.records()
    assert log.keys().active() != before
    assert [key.status for key in log.keys().keys] == ["retired", "active"]
    for record_id in (first, second):
        bundle(log.evidence(record_id))  # refuses where the parts do not hold
    assert run("audit", "keys", "revoke", before.keyid[:8], "--reason", "stolen").exit_code == 0
    third = plant.records()
    for record_id in (first, second, third):
        bundle(log.evidence(record_id))
    assert KeySet.from_json(http.get("/audit/keys").content).keys == log.keys().keys
    answer = http.get("/audit/records", params={"kind": "key"})
    assert answer.status_code == 200, answer.text
    events = answer.json()["records"]
    assert [one["decision"] for one in events] == ["revoked", "rotated"]
    assert run("audit", "keys", "show").exit_code == 0


def test_the_key_that_signs_can_be_revoked_and_what_it_may_have_forged_is_not_believed(
    plant: Plant,
) -> None:
    log = AuditLog(plant.log.store)
    plant.records(3)
    stolen = log.keys().active().keyid
    assert run("audit", "keys", "revoke", stolen, "--reason", "x", "--since", "2").exit_code == 0
    assert [key.status for key in log.keys().keys] == ["revoked", "active"]
    assert log.keys().keys[0].until_size == 2
    bundle(log.evidence(plant.records()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("revoke", "00000000", "--reason", "x"), "none has the id 00000000"),
        (("revoke", "0", "--reason", "x"), "give more digits"),
        (("trust", "nonsense"), "not of the form name"),
    ],
)
@pytest.mark.usefixtures("plant")
def test_keys_that_are_none_are_refused(arguments: tuple[str, ...], said: str) -> None:
    done = run("audit", "keys", *arguments)
    assert done.exit_code == 1
    assert said in str(done.exception)


def test_what_is_erased_is_gone_and_the_log_still_verifies(
    plant: Plant, http: httpx.Client
) -> None:
    record_id = plant.records()
    explanation_id = plant.records(1, parent=record_id)
    kept = plant.records()
    path = f"/audit/records/{record_id}/payloads"
    assert http.delete(path).status_code == 400  # no reason
    done = run("audit", "erase", record_id, "--reason", "request", "--url", plant.url)
    assert done.exit_code == 0, done.output
    for one in (record_id, explanation_id):
        gone = http.get(f"/audit/records/{one}/payloads/x")
        assert gone.status_code == 409
        assert "was erased" in gone.json()["error"]
    assert http.get(f"/audit/records/{kept}/payloads/x").content == b"input"
    again = http.delete(path, params={"reason": "again"})
    assert again.status_code == 409
    assert http.delete(path.replace(record_id, "x"), params={"reason": "x"}).status_code == 404
    (beside,) = [b for b in http.get(f"/audit/records/{record_id}").json()["beside"]
                 if b["kind"] == "erasure"]  # fmt: skip
    assert beside["caller"] == "auditor"
    with plant.log.store.engine.connect() as database:
        left = database.execute(text("SELECT salt, content FROM payloads")).all()
    assert left.count((None, None)) == 2
    assert len(left) == 3
    log = AuditLog(plant.log.store)
    evidence = log.evidence(record_id)
    assert [type(payload) for payload in evidence.payloads] == [Erased]
    bundle(evidence)
    assert Checkpoint.parse(log.checkpoint().text).root == log.root()


def test_reading_a_payload_is_itself_recorded(plant: Plant, http: httpx.Client) -> None:
    record_id = plant.records()
    answer = http.get(f"/audit/records/{record_id}/payloads/x")
    read = http.get(f"/audit/records/{answer.headers['glassline-record-id']}").json()["record"]
    assert (read["kind"], read["caller"], read["names"]) == ("read", "auditor", ["x"])
    assert read["about"]["id"] == record_id
