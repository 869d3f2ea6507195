"""A small server that keeps the contract of the streams' routes, for kills by the hundred.

Rows above 100 are anomalies; each run of them is an alarm. State is a log that is on disk before
the answer; it remembers the last 64 rows of a stream, like the real one, and no more.

    python -m tests.connectors.stream_server FILE PORT
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REMEMBERED = 64


class Streams:
    """All streams, rebuilt from the log at the start."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, tuple[Any, Any]]] = {}
        self._over: dict[str, bool] = {}
        self.alarms: list[dict[str, Any]] = []
        for line in file.read_text().splitlines() if file.exists() else ():
            self._take(*json.loads(line))
        self._log = file.open("a")

    def post(self, model: str, stream: str, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        """Status and body."""
        with self._lock:
            known = self._rows.get(stream, {})
            for row in rows:
                values = [v for k, v in row.items() if k != "time"]
                if not all(isinstance(v, (int, float)) for v in values):
                    return 400, {"error": "row: wanted numbers"}
                if row["time"] in known and known[row["time"]][0] != row:
                    return 409, {"error": f"row at {row['time']} differs"}
            answers, counts = [], {"accepted": 0, "duplicates": 0, "late": 0}
            for row in rows:
                outcome, said = self._take(model, stream, row)
                counts[outcome] += 1
                answers.append(said)
                if outcome == "accepted":
                    self._log.write(json.dumps([model, stream, row]) + "\n")
            self._log.flush()
            os.fsync(self._log.fileno())
        named = {"model_name": model, "model_version": "1", "stream": stream}
        return 200, {**named, "rows": answers, "alarms": [], **counts}

    def _take(self, model: str, stream: str, row: dict[str, Any]) -> tuple[str, Any]:
        known = self._rows.setdefault(stream, {})
        if row["time"] in known:
            return "duplicates", {**known[row["time"]][1], "duplicate": True}
        if known and row["time"] < max(known):
            return "late", {"time": row["time"], "state": "late", "score": None}
        score = max(v for k, v in row.items() if k != "time")
        over = score > 100
        said = {"time": row["time"], "score": score, "verdict": "anomaly" if over else "normal"}
        known[row["time"]] = (row, said)
        for old in sorted(known)[:-REMEMBERED]:
            del known[old]
        if over != self._over.get(stream, False):
            change = "raised" if over else "cleared"
            self.alarms.append(
                {"model": model, "stream": stream, "change": change, "time": row["time"]}
            )
        self._over[stream] = over
        return "accepted", said


class Handler(BaseHTTPRequestHandler):
    """The two routes that a bridge asks."""

    protocol_version = "HTTP/1.1"
    streams: Streams

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        _, _, _, model, what, name, *_ = [*self.path.split("/"), ""]
        if self.path.startswith("/v2/alarms/"):
            self._say(200, {"verdict": json.loads(body)["verdict"]})
        elif what != "streams" or model != "skab":
            self._say(404, {"error": f"no model '{model}'"})
        else:
            self._say(*self.streams.post(model, name, json.loads(body)["rows"]))

    def do_GET(self) -> None:
        """The alarms from `Last-Event-ID` on, as they come; health and the model."""
        if self.path != "/v2/alarms":
            self._say(200, {"live": True})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        at = int(self.headers.get("last-event-id", "0"))
        try:
            while True:
                for number, alarm in enumerate(self.streams.alarms[at:], at + 1):
                    self.wfile.write(f"id: {number}\ndata: {json.dumps(alarm)}\n\n".encode())
                    at = number
                self.wfile.write(b": here\n\n")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def _say(self, status: int, said: Any) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    Handler.streams = Streams(Path(sys.argv[1]))
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
