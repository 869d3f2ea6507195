"""The engine on a real store and a real graph: turns, restarts, full disks, bad neighbours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.anomaly.alarms import Event
from service.anomaly.snapshots import snapshot
from service.anomaly.stream import Stream, StreamKey
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.errors import Conflict, StreamRefused, Unavailable
from service.inference.registry import Registry
from service.protocol.stream_rows import Rows
from service.store import ModelStore
from service.streaming import memory
from service.streaming.care import Care
from service.streaming.engine import Engine
from service.streaming.feed import AlarmFeed
from service.streaming.journal import RowsEntry, unpacked
from service.streaming.scoring import Scorer
from service.streaming.setting_up import change
from service.streaming.store import StreamStore
from service.streaming.turns import event_json
from tests.small_detector import release_detector

CONFIG = StreamConfig(rate=0.02, warm_up_rows=0, on_delay_s=1, off_delay_s=1, period_s=1)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    home = tmp_path_factory.mktemp("models")
    release_detector(home, "windows")
    return Scorer(Registry(ModelStore(home), "cpu", serves=False).get("windows"))


def key(stream: str) -> StreamKey:
    return StreamKey("windows", "1", stream)


def rows(first: int, count: int, seed: int = 0, level: float = 0.0) -> Rows:
    at = np.arange(first, first + count)
    values = np.random.default_rng(seed + first).normal(size=(count, 2)) * 0.5
    values[:, 0] += np.where(at % 2, level, -level)
    return Rows([int(one) * SECOND for one in at], values.astype(np.float32))


def with_engine(path: Path, scorer: Scorer, do: Callable[[Engine], Awaitable[None]]) -> None:
    """Run something on an engine that is not closed: as if the process were killed after it."""

    async def run() -> None:
        engine = Engine(StreamStore(path), lambda *_: scorer.subject, lambda: None)
        await engine.start()
        await do(engine)
        await engine.on_writer(lambda: None)

    asyncio.run(run())


async def offer(engine: Engine, scorer: Scorer, name: str, sent: Rows):
    return (await engine.offer(scorer, {key(name): sent}, False, CONFIG))[key(name)]


def test_a_killed_process_comes_back_as_it_was_acknowledged(
    tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TAIL_ROWS", 150)  # so that snapshots and journal both matter
    names = [f"L1.{n}" for n in range(5)]
    before: dict[StreamKey, bytes] = {}

    async def live(engine: Engine) -> None:
        for first in range(0, 120, 12):
            level = 6.0 if first == 60 else 0.0
            await asyncio.gather(
                *(
                    offer(engine, scorer, n, rows(first, 12, at, level))
                    for at, n in enumerate(names)
                )
            )
        before.update({k: snapshot(s) for k, s in engine.memory.streams.items()})

    async def again(engine: Engine) -> None:
        assert {k: snapshot(s) for k, s in engine.memory.streams.items()} == before

    with_engine(tmp_path / "s.db", scorer, live)
    with_engine(tmp_path / "s.db", scorer, again)
    store = StreamStore(tmp_path / "s.db")
    kept = sum(1 for _ in store.journal())
    assert 0 < kept < 10  # the journal was cut
    assert len(list(store.snapshots())) == 5
    assert len(store.events(0, 100, live=True)) >= 10  # raised and cleared, each once
    store.close()


def test_what_people_said_and_what_has_drifted_come_back_after_a_kill(
    tmp_path: Path, scorer: Scorer
) -> None:
    config = CONFIG.model_copy(update={"drift_rows": 4})
    before: list[bytes] = []

    async def live(engine: Engine) -> None:
        for first in range(0, 200, 20):
            sent = rows(first, 20, level=6.0 if first == 60 else 0.0)
            sent.values[:, 1] += 3.0 if first >= 140 else 0.0
            await engine.offer(scorer, {key("L1.a"): sent}, False, config)
        said = {"alarm": key("L1.a").alarm_id(1), "verdict": "false", "by": "Ada", "caller": "hmi"}
        answer = await Care(engine).feedback(said, b"")
        assert answer["change"] == "judged-false"
        await engine.offer(scorer, {key("L1.a"): rows(200, 40)}, False, config)
        await Care(engine).rebase(key("L1.a"), {"by": "Ada", "caller": "hmi"})
        await engine.offer(scorer, {key("L1.a"): rows(240, 10)}, False, config)
        before.append(snapshot(engine.memory.streams[key("L1.a")]))

    async def again(engine: Engine) -> None:
        stream = engine.memory.streams[key("L1.a")]
        assert stream.feedback.said == {"true": 0, "false": 1}
        assert snapshot(stream) == before[0]

    with_engine(tmp_path / "s.db", scorer, live)
    with_engine(tmp_path / "s.db", scorer, again)


def test_settings_that_were_changed_come_back_after_a_kill(tmp_path: Path, scorer: Scorer) -> None:
    before: list[bytes] = []

    async def live(engine: Engine) -> None:
        await offer(engine, scorer, "L1.a", rows(0, 60))
        said = {"off_delay_s": 4, "rate": 0.05}
        await engine.act(key("L1.a"), lambda work: change(work, key("L1.a"), said, "hmi"))
        await offer(engine, scorer, "L1.a", rows(60, 10, level=6.0))
        before.append(snapshot(engine.memory.streams[key("L1.a")]))

    async def again(engine: Engine) -> None:
        stream = engine.memory.streams[key("L1.a")]
        assert (stream.config.off_delay_s, stream.levels.judge.rate) == (4, 0.05)
        assert snapshot(stream) == before[0]

    with_engine(tmp_path / "s.db", scorer, live)
    with_engine(tmp_path / "s.db", scorer, again)


def test_a_true_alarm_gives_its_event_back_once_whatever_is_killed_and_replays_byte_for_byte(
    tmp_path: Path, scorer: Scorer
) -> None:
    config = CONFIG.model_copy(update={"events_per_hour": 1.0, "saved_events": 0.0})
    path = tmp_path / "s.db"
    debts: list[float] = []

    async def alarmed(engine: Engine, *firsts: int) -> None:
        for first in firsts:
            for start, level in ((first, 0.0), (first + 20, 6.0), (first + 26, 0.0)):
                sent = rows(start, 6 if level else 20, level=level)
                await engine.offer(scorer, {key("L1.a"): sent}, False, config)

    def note(engine: Engine) -> None:
        debts.append(round(engine.memory.streams[key("L1.a")].levels.purse.debt, 2))

    async def say(engine: Engine, verdict: str) -> dict[str, Any]:
        said = {"alarm": key("L1.a").alarm_id(1), "verdict": verdict, "by": "Ada", "caller": "hmi"}
        return await Care(engine).feedback(said, b"")

    async def first(engine: Engine) -> None:
        await alarmed(engine, 0)
        note(engine)
        answer = await say(engine, "true")
        assert answer["budget_returned"] == pytest.approx(1, abs=0.02)
        assert "given back" in answer["budget"]
        note(engine)

    async def again(engine: Engine) -> None:
        note(engine)
        answer = await say(engine, "true")  # whoever got no answer says it again
        assert ("budget_returned" in answer, answer["budget"]) == (
            False, "it has its event back already"
        )  # fmt: skip
        note(engine)
        await alarmed(engine, 46)
        assert (await say(engine, "false"))["budget_returned"] == pytest.approx(-1, abs=0.03)
        await alarmed(engine, 92)
        note(engine)

    with_engine(path, scorer, first)
    with_engine(path, scorer, again)
    # Taken, given back, back after the kill, and not given back twice.
    assert debts[:4] == pytest.approx([1, 0, 0, 0], abs=0.02)
    assert debts[4] > 1  # the last word was false
    store = StreamStore(path)
    assert logged(store, scorer) == [body for _, _, body in store.events(0, 100, live=True)]
    assert [said["event"]["change"] for said in acts(store)] == [
        "judged-true", "judged-true", "judged-false"
    ]  # fmt: skip
    assert acts(store)[0]["event"]["budget_returned"] == pytest.approx(1, abs=0.02)
    store.close()


def logged(store: StreamStore, scorer: Scorer) -> list[str]:
    """The alarm log that the journal gives when it is gone through once more, from its start."""
    streams: dict[StreamKey, Stream] = {}
    lines: list[str] = []
    for _, content in store.journal():
        for entry in unpacked(content):
            events: list[Event] = []
            if isinstance(entry, RowsEntry):
                one = streams[entry.key]
                staged = one.stage(entry.times.tolist(), entry.values, entry.historical)
                events = one.conclude(staged, entry.scores, entry.shares)[1]
            elif entry.what == "begin":
                config = StreamConfig.model_validate(entry.said)
                streams[entry.key] = Stream.begin(entry.key, scorer.subject, config)
            else:
                assert entry.what == "feedback"
                events = [streams[entry.key].say(**entry.said)[0]]
            said = [event_json(entry.key, event) for event in events]
            lines += [orjson.dumps(line, option=orjson.OPT_SORT_KEYS).decode() for line in said]
    return lines


def acts(store: StreamStore) -> list[dict[str, Any]]:
    """What is owed to the audit log for what people did."""
    return [json.loads(said) for _, kind, said, _ in store.owed(100) if kind == "act"]


def test_who_is_at_fault_is_refused_alone(tmp_path: Path, scorer: Scorer) -> None:
    async def live(engine: Engine) -> None:
        await offer(engine, scorer, "L1.a", rows(0, 20))
        far = rows(0, 20)
        far.values[7] = 3e38  # its square is no number
        wrong = rows(5, 1, seed=99)
        sent = await asyncio.gather(
            offer(engine, scorer, "L1.b", rows(0, 20)),
            engine.offer(scorer, {key("L1.c"): far}, False, CONFIG),
            offer(engine, scorer, "L1.a", wrong),
            return_exceptions=True,
        )
        assert sent[0].accepted == 20
        assert isinstance(sent[1], StreamRefused)
        assert isinstance(sent[2], Conflict)
        assert key("L1.c") not in engine.memory.streams

    with_engine(tmp_path / "s.db", scorer, live)


def test_a_fault_of_ours_hurts_its_own_request_alone(tmp_path: Path, scorer: Scorer) -> None:
    """Rows that the protocol should have refused: their moment has no date."""

    async def live(engine: Engine) -> None:
        await offer(engine, scorer, "L1.a", rows(0, 20))
        none = rows(20, 1)
        none.times[0] = -62_200_000_000 * SECOND
        first, bad, last = await asyncio.gather(
            offer(engine, scorer, "L1.a", rows(20, 5)),
            offer(engine, scorer, "L1.bad", none),
            offer(engine, scorer, "L1.b", rows(0, 5)),
            return_exceptions=True,
        )
        assert isinstance(bad, Unavailable)
        assert "internal error" in str(bad)
        assert (first.accepted, last.accepted) == (5, 5)
        again = await offer(engine, scorer, "L1.a", rows(20, 6))
        assert (again.accepted, again.duplicates) == (1, 5)
        assert key("L1.bad") not in engine.memory.streams

    with_engine(tmp_path / "streams.db", scorer, live)

    async def back(engine: Engine) -> None:
        assert engine.memory.streams[key("L1.a")].counts.rows == 26
        assert engine.memory.streams[key("L1.b")].counts.rows == 5

    with_engine(tmp_path / "streams.db", scorer, back)


def test_a_disk_that_fails_loses_nothing_that_was_acknowledged_and_takes_nothing_in(
    tmp_path: Path, scorer: Scorer
) -> None:
    async def live(engine: Engine) -> None:
        await offer(engine, scorer, "L1.a", rows(0, 20))
        good = snapshot(engine.memory.streams[key("L1.a")])
        full = engine.store._db.execute("PRAGMA page_count").fetchone()[0]
        await engine.on_writer(lambda: engine.store._db.execute(f"PRAGMA max_page_count = {full}"))
        with pytest.raises(Unavailable, match="could not be made durable"):
            await offer(engine, scorer, "L1.a", rows(20, 2000))
        await engine.on_writer(lambda: engine.store._db.execute("PRAGMA max_page_count = 1000000"))
        done = await offer(engine, scorer, "L1.b", rows(0, 5))  # brings the others back first
        assert done.accepted == 5
        assert snapshot(engine.memory.streams[key("L1.a")]) == good
        assert (await offer(engine, scorer, "L1.a", rows(20, 5))).accepted == 5

    with_engine(tmp_path / "s.db", scorer, live)


def test_requests_of_one_stream_keep_their_order(tmp_path: Path, scorer: Scorer) -> None:
    async def live(engine: Engine) -> None:
        blocks = [rows(first, 5) for first in range(0, 200, 5)]
        taken = await asyncio.gather(*(offer(engine, scorer, "L1.a", one) for one in blocks))
        assert sum(one.accepted for one in taken) == 200
        assert sum(one.late for one in taken) == 0

    with_engine(tmp_path / "s.db", scorer, live)


def test_a_flood_is_an_event_and_no_explanation_is_owed_in_it(
    tmp_path: Path, scorer: Scorer
) -> None:
    async def live(engine: Engine) -> None:
        names = [f"L1.{n}" for n in range(14)]
        for name in names:
            await offer(engine, scorer, name, rows(0, 30, level=0.0))
            await offer(engine, scorer, name, rows(30, 6, level=9.0))
        (flood,) = floods()
        assert (flood["line"], flood["change"]) == ("L1", "flood-begun")
        await offer(engine, scorer, "L1.0", rows(800, 1))

    def floods() -> list[dict[str, Any]]:
        store = StreamStore(tmp_path / "s.db", reads=True)
        try:
            return list(AlarmFeed(store).page(0, 10, None, history=False)["floods"])
        finally:
            store.close()

    with_engine(tmp_path / "s.db", scorer, live)
    store = StreamStore(tmp_path / "s.db")
    changes = [change for _, change, _ in store.events(0, 100, live=True)]
    assert floods() == []
    assert changes == ["raised"] * 11 + ["flood-begun"] + ["raised"] * 3 + ["flood-ended"]
    owed = [said for _, _, said, _ in store.owed(100)]
    assert ['"explain":true' in said for said in owed] == [True] * 10 + [False] * 4
    assert not store.recent_alarms(600 * SECOND)["L1"][1]
    store.close()
