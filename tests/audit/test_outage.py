"""A database that is locked, full or away: what is acknowledged stands, what is not leaves nothing.

And whether a prediction is answered meanwhile is the operator's choice.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import event, text

from service import metrics
from service.access import Keyring
from service.audit import store
from service.audit.committer import Committer
from service.audit.log import AuditLog
from service.audit.log_writer import LogWriter
from service.audit.recorder import Recorder, RequestContext
from service.audit.store import RecordStore
from service.audit.writer import RecordWriter
from service.errors import Unavailable
from service.inference.predictor import Prediction, Predictor
from service.inference.registry import LoadedModel, Registry
from service.protocol.request import InferRequest
from service.routes import bodies
from service.routes.fast_lane import FastLane
from service.routes.gate import Gate
from service.routes.reply import Reply
from service.serving import Serving
from service.settings import Settings
from tests.audit.evidence import a_record
from tests.audit.logs import a_keyholder, a_log, postgresql_database
from tests.running_server import free_port
from tests.small_models import release_small_models

ROW = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"data":[5.0,1.0]}]}'
HEADERS = {b"content-type": b"application/json"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outage")
    release_small_models(folder)
    return folder


@dataclass
class Line:
    """A predicting process's way from a request to its answer, and its log."""

    settings: Settings
    log: LogWriter
    writer: RecordWriter
    model: LoadedModel
    predictor: Predictor
    lane: FastLane

    async def answered(self) -> Prediction:
        """Over the lane for everything."""
        return await self.predictor.answer(self.model, self.request(), self.context())

    async def answered_fast(self) -> Reply:
        """Over the lane for what can be answered at once."""
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        taken = self.lane.take(
            b"/v2/models/parts/versions/1/infer", list(HEADERS.items()), ROW, ("127.0.0.1", 1),
            lambda reply, _: done.set_result(reply),
        )  # fmt: skip
        assert taken
        return await done

    def request(self) -> InferRequest:
        return bodies.decoded(HEADERS, ROW, self.model, self.settings)

    @staticmethod
    def context() -> RequestContext:
        return RequestContext("request", "caller")

    def fill_the_disk(self) -> None:
        """SQLite's own limit stands for the disk's: the same error from the same place."""
        with self.log.store.engine.connect() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar()
        limit = f"PRAGMA max_page_count = {pages}"
        event.listen(self.log.store.engine, "connect", lambda c, _: c.execute(limit))
        self.log.store.engine.dispose()


Opened = Callable[..., Line]


@pytest.fixture
def opened(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr("service.audit.store.BUSY_MS", 50)
    lines: list[Line] = []

    def line(**settings: Any) -> Line:
        said = Settings(home=home, device="cpu", **settings)
        log = a_log(tmp_path / f"{len(lines)}.db")
        writer = RecordWriter(log)
        recorder = Recorder(writer, "glassline")
        registry = Registry.of(said, recorder)
        predictor = Predictor(recorder, said)
        model = registry.get("parts")
        serving = cast(
            "Serving",
            SimpleNamespace(
                settings=said,
                keyring=Keyring(tmp_path / "keys.json", "open"),
                registry=registry,
                predictor=predictor,
                draining=False,
            ),
        )
        lines.append(Line(said, log, writer, model, predictor, FastLane(serving, Gate(serving))))
        return lines[-1]

    yield line
    for one in lines:
        one.predictor.close()
        one.writer.close()
        one.log.store.close()


async def all_of(line: Line, times: int = 60) -> list[Any]:
    """Predictions over both lanes, and what came of each."""
    ways: list[Callable[[], Awaitable[Any]]] = [line.answered, line.answered_fast]
    calls = [ways[n % 2]() for n in range(times)]
    return await asyncio.gather(*calls, return_exceptions=True)


def test_on_a_full_disk_a_closed_server_answers_503_and_nothing_is_half_written(
    opened: Opened,
) -> None:
    line = opened()
    asyncio.run(all_of(line, 2))
    line.fill_the_disk()
    answers = asyncio.run(all_of(line))
    refused = [a for a in answers if isinstance(a, Unavailable)]
    refused += [a for a in answers if isinstance(a, Reply) and a.status == 503]
    answered = [a for a in answers if isinstance(a, Prediction)]
    answered += [a for a in answers if isinstance(a, Reply) and a.status == 200]
    assert refused
    assert "disk is full" in str(refused[0])
    assert len(refused) + len(answered) == len(answers)
    # Each answer has its record, each refusal has none, and the tree is over what there is.
    log = AuditLog(line.log.store)
    kinds = [b'"kind":"prediction"' in body for body, _ in log.leaves()]
    assert sum(kinds) == 2 + len(answered)
    assert log.checkpoint().signed_by(log.keys().active())


def test_on_a_full_disk_an_open_server_answers_without_a_record_counted_and_loud(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    line = opened(record_failure="open")
    asyncio.run(all_of(line, 2))
    line.fill_the_disk()
    before = metrics.AUDIT_MISSED.labels("parts", "1")._value.get()
    with caplog.at_level(logging.ERROR, "glassline.records"):
        answers = asyncio.run(all_of(line))
    assert not [a for a in answers if isinstance(a, BaseException)]
    ids = [a.record_id for a in answers if isinstance(a, Prediction)]
    ids += [a.headers.get("glassline-record-id") for a in answers if isinstance(a, Reply)]
    assert [a.status for a in answers if isinstance(a, Reply)] == [200] * 30
    missed = ids.count(None)
    assert missed
    assert metrics.AUDIT_MISSED.labels("parts", "1")._value.get() - before == missed
    assert "ANSWERED WITHOUT A RECORD" in caplog.text
    for record_id in ids:
        if record_id is not None:  # an id is only ever told of a record that is there
            line.log.store.get(record_id)


def test_what_is_explained_is_recorded_or_not_answered_even_by_an_open_server(
    opened: Opened,
) -> None:
    line = opened(record_failure="open", record_predictions="none")

    async def predicted() -> str:
        record_id, _ = await line.predictor.predict(line.model, line.request(), line.context())
        return record_id

    line.log.store.get(asyncio.run(predicted()))  # although predictions are not recorded
    line.writer.close()
    with pytest.raises(Unavailable):
        asyncio.run(predicted())


@pytest.mark.parametrize(
    ("share", "models", "least", "most"),
    [("all", {}, 200, 200), ("none", {}, 0, 0), ("all", {"parts": "none"}, 0, 0),
     ("0", {"parts": 1}, 200, 200), ("0.5", {"other": 1}, 60, 140)],
)  # fmt: skip
def test_as_many_are_recorded_as_the_policy_says(
    opened: Opened, share: str, models: dict[str, Any], least: int, most: int
) -> None:
    line = opened(record_predictions=share, record_models=models)
    answers = asyncio.run(all_of(line, 200))
    ids = [a.record_id for a in answers if isinstance(a, Prediction)]
    ids += [a.headers.get("glassline-record-id") for a in answers if isinstance(a, Reply)]
    assert least <= len(ids) - ids.count(None) <= most
    line.writer.close()
    kinds = [b'"kind":"model-load"' in body for body, _ in AuditLog(line.log.store).leaves()]
    assert any(kinds)  # whatever the policy


def test_settings_go_to_child_processes_as_they_are() -> None:
    said = Settings(record_predictions="0.25", record_models={"a": "none", "b": 0.5})
    environment = said.environment()
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    try:
        again = Settings()
    finally:
        for name in environment:
            os.environ.pop(name, None)
    assert again.recorded_share("a") == 0
    assert again.recorded_share("b") == 0.5
    assert again.recorded_share("c") == 0.25


def test_a_postgresql_that_is_locked_is_waited_for_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store._POSTGRESQL, "options", "-c lock_timeout=100")
    for url in postgresql_database():
        writer = LogWriter(RecordStore(url), a_keyholder(tmp_path), "log.example/l")
        writer.start()
        committer = Committer(writer)
        with writer.store.engine.begin() as other:
            other.execute(text("SELECT * FROM log FOR UPDATE"))
            (reason,) = committer.write([a_record(1)])
            assert reason is not None
            assert "lock timeout" in reason
            assert committer.out_of_order
        assert AuditLog(writer.store).size() == 0
        assert committer.write([a_record(2)]) == [None]
        assert AuditLog(writer.store).size() == 1
        writer.store.close()


@pytest.fixture
def cluster() -> Iterator[tuple[str, Callable[[str], None]]]:
    """A PostgreSQL of its own: its URL, and a way to stop and start it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not programs or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NO POSTGRESQL PROGRAMS, or not root: a restarting database goes UNTESTED")
    folder, port = Path(f"/tmp/glassline-{os.getpid()}-{free_port()}"), free_port()
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    tools = programs[-1].parent
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"

    def run(*command: str) -> None:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run([*user, *command], check=True, capture_output=True, cwd=folder, timeout=120)

    def control(what: str) -> None:
        data, log = str(folder / "data"), str(folder / "log")
        if what == "start":
            run(str(tools / "pg_ctl"), "-D", data, "-l", log, "-o", options, "-w", "start")
        else:
            run(str(tools / "pg_ctl"), "-D", data, "-m", what, "-w", "stop")

    run(str(tools / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")
    control("start")
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", control
    control("immediate")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_postgresql_that_crashes_and_comes_back_loses_nothing_that_was_acknowledged(
    cluster: tuple[str, Callable[[str], None]], tmp_path: Path
) -> None:
    url, control = cluster
    writer = LogWriter(RecordStore(url), a_keyholder(tmp_path), "log.example/l")
    committer = Committer(writer)
    acknowledged = []
    for way in ("immediate", "fast"):  # as kill -9, and as an operator stops it
        for _ in range(20):
            group = [a_record(n) for n in range(5)]
            assert committer.write(group) == [None] * 5
            acknowledged += group
        control(way)
        start = time.monotonic()
        reasons = committer.write([a_record(1), a_record(2)])
        assert None not in reasons
        assert committer.out_of_order
        assert time.monotonic() - start < 30
        control("start")
        assert committer.write([last := a_record(3)]) == [None]
        acknowledged.append(last)
    log = AuditLog(writer.store)
    assert [body for body, _ in log.leaves()] == [record.body for record in acknowledged]
    for record in acknowledged[::20]:
        log.evidence(record.id)
    writer.store.close()
