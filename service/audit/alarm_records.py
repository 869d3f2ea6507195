"""Records of alarms and of what operators did about them, and of what was done to streams."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service import __version__
from service.audit.channel import RecordChannel
from service.audit.record import build, new_id, timestamp
from service.audit.writer import RecordWriter


class AlarmRecorder:
    """Records through a writer; every method blocks until the record is on disk.

    Args:
        writer: makes records durable.
    """

    def __init__(self, writer: RecordChannel | RecordWriter) -> None:
        self._writer = writer

    def alarm(self, event: Mapping[str, Any], record_id: str, prediction_id: str | None) -> None:
        """Record that an alarm was raised.

        Args:
            event: as it stands in the alarm log.
            record_id: of this record; given, so that one that was written is not written again.
            prediction_id: of the record of the window that raised it; None where the model is gone.

        Raises:
            Unavailable: it could not be made durable.
            Overloaded: too many records wait.
        """
        content = {"event": dict(event), "prediction": prediction_id}
        self._write("alarm", record_id, content, event, "glassline", prediction_id)

    def act(self, event: Mapping[str, Any], caller: str, alarm_record: str | None) -> None:
        """Record what somebody did to an alarm; errors as `alarm` has them.

        Args:
            event: as it stands in the alarm log.
            caller: whose API key it was; `by` in the event is the person's own word.
            alarm_record: the alarm's record, if it has one.
        """
        self._write("alarm-act", new_id(), {"event": dict(event)}, event, caller, alarm_record)

    def drift(self, event: Mapping[str, Any]) -> None:
        """Record that a drift began or is over, with its evidence; errors as `alarm` has them."""
        self._write("drift", new_id(), {"event": dict(event)}, event, "glassline", None)

    def stream(self, change: str, said: Mapping[str, Any]) -> None:
        """Record that a stream was forgotten or reconfigured; errors as `alarm` has them.

        Args:
            change: which.
            said: model, version and stream, by whom, and what else is to be known.
        """
        about = {"change": change, **said}
        self._write("stream", new_id(), {"stream": dict(said)}, about, said["by"], None)

    def _write(
        self,
        kind: str,
        record_id: str,
        content: Mapping[str, Any],
        about: Mapping[str, Any],
        caller: str,
        parent: str | None,
    ) -> None:
        moment = datetime.now(UTC)
        service = {
            "name": "glassline", "version": __version__,
            "host": socket.gethostname(), "pid": os.getpid(),
        }  # fmt: skip
        said = {
            "started_at": timestamp(moment), "caller": caller, "service": service,
            "model": {"name": about["model"], "version": about["version"]}, **content,
        }  # fmt: skip
        columns = {
            "model": about["model"],
            "version": about["version"],
            "decision": about["change"],
            "score": about.get("score"),
            "caller": caller[:256],
            "request_id": str(about.get("alarm", about.get("stream")))[:128],
            "parent_id": parent,
        }
        self._writer.append(build(kind, record_id, moment, said, columns)).result()
