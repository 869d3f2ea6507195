"""Between commits: old payloads go by themselves, and an authority stamps the checkpoint."""

from __future__ import annotations

import asyncio
import base64
import logging
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.audit.bundle import Erased, bundle
from service.audit.checkpoint import Checkpoint
from service.audit.committer import Committer
from service.audit.erasure import CHUNK, Retention
from service.audit.housekeeping import Housekeeping
from service.audit.log import AuditLog
from service.audit.log_writer import LogWriter
from service.audit.record import Payload, build
from service.audit.search import first_id
from service.audit.timestamps import stamped
from service.errors import Conflict, Unavailable
from service.settings import Settings
from tests.audit.evidence import a_record
from tests.audit.logs import a_log

CONFIGURATION = """
[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    opened = a_log(tmp_path / "records.db")
    yield opened
    opened.store.close()


class _Authority(BaseHTTPRequestHandler):
    folder: Path
    answer: bytes | None = None

    def do_POST(self) -> None:
        query = self.folder / "query.tsq"
        query.write_bytes(self.rfile.read(int(self.headers["content-length"])))
        content = self.answer or openssl(
            "ts", "-reply", "-config", f"{self.folder}/tsa.cnf", "-section", "tsa",
            "-queryfile", str(query), "-signer", f"{self.folder}/tsa.pem",
            "-inkey", f"{self.folder}/tsa.key",
        )  # fmt: skip
        self.send_response(200)
        self.send_header("content-type", "application/timestamp-reply")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def openssl(*arguments: str) -> bytes:
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A time-stamp authority made with openssl: its address, and its folder."""
    folder = tmp_path / "authority"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "serial").write_text("01\n")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
        "-addext", "extendedKeyUsage=critical,timeStamping",
        "-keyout", f"{folder}/tsa.key", "-out", f"{folder}/tsa.pem",
    )  # fmt: skip
    handler = type("Authority", (_Authority,), {"folder": folder})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_checkpoint_is_stamped_and_openssl_verifies_the_stamp(
    log: LogWriter, authority: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = authority
    log.append([a_record(n) for n in range(3)])
    keeping = Housekeeping(Committer(log), log.store, Settings(timestamp_url=url))
    asyncio.run(keeping.stamp_once())
    found = AuditLog(log.store).stamped()
    assert found is not None
    note, token = found
    assert Checkpoint.parse(note.text).size == 3
    (tmp_path / "text").write_bytes(note.text.encode())
    (tmp_path / "token").write_bytes(token)
    said = openssl(
        "ts", "-verify", "-data", f"{tmp_path}/text", "-in", f"{tmp_path}/token",
        "-CAfile", f"{folder}/tsa.pem",
    )  # fmt: skip
    assert b"OK" in said
    log.append([a_record(4)])
    asyncio.run(keeping.stamp_once())
    again = AuditLog(log.store).stamped()
    assert again is not None
    assert Checkpoint.parse(again[0].text).size == 4


def test_an_answer_to_another_question_is_no_stamp(
    log: LogWriter, authority: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = authority
    first = AuditLog(log.store).checkpoint()
    old = stamped(first, url)
    log.append([a_record(1)])
    monkeypatch.setattr(_Authority, "answer", old)
    with pytest.raises(Unavailable, match="stamps another"):
        stamped(AuditLog(log.store).checkpoint(), url)
    with pytest.raises(Unavailable, match="nonce"):
        stamped(first, url)
    monkeypatch.setattr(_Authority, "answer", b"nonsense")
    with pytest.raises(Unavailable, match="gives none"):
        stamped(first, url)


def test_an_authority_that_is_away_stops_nothing(
    log: LogWriter, caplog: pytest.LogCaptureFixture
) -> None:
    log.append([a_record(1)])
    settings = Settings(timestamp_url="http://127.0.0.1:1/none")
    with caplog.at_level(logging.ERROR, "glassline.records"):
        asyncio.run(Housekeeping(Committer(log), log.store, settings).stamp_once())
    assert "was not time-stamped" in caplog.text
    assert AuditLog(log.store).stamped() is None


def test_payloads_go_once_they_are_old_and_the_log_still_verifies(log: LogWriter) -> None:
    now = datetime.now(UTC)
    count = CHUNK + 30  # more than go in one transaction
    old, fresh = [], []
    for number in range(count + 5):
        moment = now - timedelta(days=40 if number < count else 5)
        record_id = first_id(moment)[:13] + f"-7000-8000-{number:012x}"
        payload = Payload("x", "text/plain", b"input")
        record = build("prediction", record_id, moment, {"n": number}, {}, (payload,))
        (old if number < count else fresh).append(record)
    log.append(old + fresh)
    committer = Committer(log)
    keeping = Housekeeping(committer, log.store, Settings(payload_days=30))
    for _ in range(2):  # the second time there is nothing left to do
        asyncio.run(keeping.erase_old(Retention(log.store, 30)))
    reader = AuditLog(log.store)
    assert reader.size() == count + 5 + 2  # two erasures, each a record
    for record in old[:: count // 10]:
        evidence = reader.evidence(record.id)
        assert [type(payload) for payload in evidence.payloads] == [Erased]
        bundle(evidence)
        with pytest.raises(Conflict, match="erased"):
            log.store.payload(record.id, "x")
    for record in fresh:
        assert log.store.payload(record.id, "x") == b"input"
    assert base64.b64encode(reader.root()).decode() in reader.checkpoint().text
