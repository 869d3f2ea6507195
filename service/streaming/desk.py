"""What can be asked about streams, by the process that owns them: JSON and bytes in, JSON out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from service.anomaly.alarms import ACTS
from service.anomaly.snapshots import key_of, restore, snapshot
from service.anomaly.stream import StreamKey
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND, microseconds, rfc3339
from service.errors import Conflict, InvalidParameter, Unavailable, UnknownStream
from service.inference.registry import LoadedModel
from service.protocol import stream_rows
from service.settings import Settings
from service.streaming.care import Care, alarm_of, person
from service.streaming.description import described, drift_history
from service.streaming.engine import Engine
from service.streaming.intake import check_clock, said_of_rows
from service.streaming.journal import ActEntry
from service.streaming.scoring import Scorer
from service.streaming.setting_up import change, parsed, set_up
from service.streaming.turns import TurnWork

FindModel = Callable[[str, str | None], Awaitable[LoadedModel]]


class Desk:
    """Answers for all streams.

    Args:
        engine: owns them.
        find_model: loads a model where need be.
        settings: limits.
    """

    def __init__(self, engine: Engine, find_model: FindModel, settings: Settings) -> None:
        self._engine = engine
        self._find_model = find_model
        self._settings = settings
        self._scorers: dict[LoadedModel, Scorer] = {}
        self._making = asyncio.Lock()
        care = self._care = Care(engine)
        self._asked = {
            "rows": self._rows, "describe": self._describe, "configure": self._configure,
            "change": self._change, "forget": self._forget, "export": self._export,
            "import": self._import, "act": self._act, "list": self._list,
            "feedback": care.feedback, "drift": self._drift, "rebase": self._rebase,
        }  # fmt: skip

    async def answer(self, asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """Do what is asked for.

        Args:
            asked: `what`, one of those above, and its values.
            body: of the HTTP request.

        Raises:
            GlasslineError: whatever is wrong with it.
        """
        return await self._asked[asked["what"]](asked, body)

    async def _scorer(self, model: str, version: str | None) -> Scorer:
        loaded = await self._find_model(model, version)
        if (scorer := self._scorers.get(loaded)) is not None:
            return scorer
        async with self._making:  # it runs the graph for a moment, once for all who wait
            if (scorer := self._scorers.get(loaded)) is None:
                scorer = await asyncio.to_thread(Scorer, loaded)
                of = (loaded.manifest.name, loaded.manifest.version)
                for old in [
                    m for m in self._scorers if (m.manifest.name, m.manifest.version) == of
                ]:
                    del self._scorers[old]  # it was unloaded and loaded again
                self._scorers[loaded] = scorer
            return scorer

    async def _rows(self, asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        scorer = await self._scorer(asked["model"], asked["version"])
        manifest, settings = scorer.model.manifest, self._settings
        name = asked["stream"]
        if name is not None:
            stream_rows.stream_name(name)
        sent = stream_rows.decode(
            body, asked["content_type"], scorer.subject.sensors, name, settings.max_batch_rows
        )
        historical = bool(sent.historical or asked["historical"])
        check_clock(sent, historical, settings)
        rows = {
            StreamKey(manifest.name, manifest.version, stream): one
            for stream, one in sent.rows.items()
        }
        taken = await self._engine.offer(scorer, rows, historical, StreamConfig.parse({}, "stream"))
        said = {"model_name": manifest.name, "model_version": manifest.version}
        return said | said_of_rows(name, sent, taken, historical)

    async def _key(self, asked: Mapping[str, Any]) -> StreamKey:
        """The stream that is meant: of a version, or of the newest version that it has.

        Raises:
            UnknownModel: there is none, nor its model.
            UnknownStream: there is none.
        """
        model, version, stream = asked["model"], asked["version"], asked["stream"]
        stream_rows.stream_name(stream)
        keys = self._engine.memory.versions(model, stream)
        fitting = [key for key in keys if version in (None, key.version)]
        if not fitting:
            await self._check_model(model, version)
            raise UnknownStream(
                f"stream '{stream}' of model '{model}': no row has come. POST one to "
                f"/v2/models/{model}/streams/{stream}."
            )
        return fitting[-1]

    async def _check_model(self, model: str, version: str | None) -> None:
        """Refuse a model that is nowhere; one that is not served has its streams."""
        try:
            await self._find_model(model, version)
        except Unavailable:
            pass

    async def _describe(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        stream = self._engine.memory.get(await self._key(asked))
        return described(stream)

    async def _list(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        memory = self._engine.memory
        model, version = asked["model"], asked["version"]
        found = sorted(
            key for key in memory.streams if key.model == model and version in (None, key.version)
        )
        if not found:
            await self._check_model(model, version)
        return {
            "streams": [
                {
                    "stream": key.stream,
                    "model_version": key.version,
                    "active": memory.streams[key].alarm.active,
                    "last_row": rfc3339(newest) if (newest := memory.streams[key].track.newest)
                    else None,
                }
                for key in found
            ]
        }  # fmt: skip

    async def _configure(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        scorer = await self._scorer(asked["model"], asked["version"])
        manifest, subject = scorer.model.manifest, scorer.subject
        stream = stream_rows.stream_name(asked["stream"])
        config = parsed(asked["config"], stream, subject.sensors)
        key = StreamKey(manifest.name, manifest.version, stream)
        return await self._changed(
            key, lambda work: set_up(work, key, subject, config, asked["caller"])
        )

    async def _change(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        key = await self._key(asked)
        return await self._changed(
            key, lambda work: change(work, key, asked["config"], asked["caller"])
        )

    async def _changed(self, key: StreamKey, do: Callable[[TurnWork], Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._engine.act(key, do)
        return answer

    async def _forget(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        key = await self._key(asked)

        def do(work: TurnWork) -> dict[str, Any]:
            memory = work.memory
            if key not in memory.streams and key not in memory.broken:
                memory.get(key)
            gone = memory.streams.pop(key, None)
            memory.broken.pop(key, None)
            memory.tell_metrics()
            work.write(ActEntry(key, "forget", {}))
            said = {
                "model": key.model, "version": key.version, "stream": key.stream,
                "by": asked["caller"], "rows": gone.counts.rows if gone else None,
            }  # fmt: skip
            work.owe("forget", said)
            return {"forgotten": True, **said}

        return await self._changed(key, do)

    async def _export(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        key = await self._key(asked)

        def do(work: TurnWork) -> dict[str, Any]:
            return {"state": base64.b64encode(snapshot(work.memory.get(key))).decode()}

        return await self._changed(key, do)

    async def _import(self, asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        scorer = await self._scorer(asked["model"], asked["version"])
        manifest = scorer.model.manifest
        key = StreamKey(manifest.name, manifest.version, asked["stream"])
        if (found := key_of(body)) != key:
            raise Conflict(
                f"state of stream '{found.stream}' of {found.model}@{found.version}: cannot "
                f"become '{key.stream}' of {key.model}@{key.version}. PUT it where it belongs."
            )
        stream = restore(body, scorer.subject)

        def do(work: TurnWork) -> dict[str, Any]:
            if work.memory.find(key) is not None:
                raise Conflict(f"stream '{key.stream}' is here already. DELETE it first.")
            work.memory.streams[key] = stream
            work.memory.tell_metrics()
            work.write(ActEntry(key, "put", {}, body))
            return described(stream)

        return await self._changed(key, do)

    async def _drift(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        return drift_history(self._engine.memory.get(await self._key(asked)))

    async def _rebase(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        return await self._care.rebase(await self._key(asked), asked)

    async def _act(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        key, number = alarm_of(asked["alarm"])
        act, (by, comment) = asked["act"], person(asked, asked["act"])
        now = microseconds(datetime.now(UTC))
        until = _until(asked, now) if act == "shelve" else None

        def do(work: TurnWork) -> dict[str, Any]:
            stream = work.memory.get(key)
            said = {
                "number": number, "act": act, "time": now, "by": by, "comment": comment,
                "until": until,
            }  # fmt: skip
            event = stream.act(**said)
            work.write(ActEntry(key, "act", said))
            line = work.announce(stream, event)
            work.owe("act", {"event": line, "caller": asked["caller"]})
            return line

        return await self._changed(key, do)


def _until(asked: Mapping[str, Any], now: int) -> int | None:
    """When a timed shelving ends; None = with the alarm, once."""
    minutes = asked.get("minutes")
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        minutes = -1
    if not 0 < minutes <= 7 * 24 * 60:
        raise InvalidParameter(
            "alarm: shelve: minutes: wanted more than 0 and at most 10080 (a week), or none to "
            "shelve until the alarm ends."
        )
    return now + int(minutes * 60 * SECOND)


__all__ = ["ACTS", "Desk", "FindModel"]
