"""Closed-loop load on one URL: wrk where it is installed, else this file as a process.

As a process: python tests/bench/load.py URL BODY-FILE SECONDS CONNECTIONS ["Header: value" ...]
`{n}` in the URL becomes another number in each request.
It prints what `post.lua` prints. Each connection sends its next request when the answer to
the last has come; a run ends by time, and at COUNT requests whatever happens.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COUNT = 20_000_000
TIMEOUT_SECONDS = 60
_numbers = itertools.count()
_HERE = Path(__file__).resolve()


def generator(wanted: str) -> str:
    """`wrk` or `asyncio`, as wanted or as installed.

    Raises:
        ValueError: wrk is wanted and missing.
    """
    if wanted == "wrk" and shutil.which("wrk") is None:
        raise ValueError("--generator wrk: it is not installed. Install it, or leave this out.")
    return wanted if wanted != "auto" else ("wrk" if shutil.which("wrk") else "asyncio")


def command(
    kind: str, url: str, body: Path, headers: dict[str, str], seconds: float, connections: int
) -> list[str]:
    """The command line of a run."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if kind == "wrk":
        # wrk counts whole seconds.
        return [
            "wrk", "--threads", "1", "--connections", str(connections),
            "--duration", f"{max(1, round(seconds))}s", "--timeout", f"{TIMEOUT_SECONDS}s",
            "--script", str(_HERE.with_name("post.lua")), url, "--", str(body), *lines,
        ]  # fmt: skip
    program = [sys.executable, str(_HERE), url, str(body), str(seconds), str(connections)]
    return [*program, *lines]


def figures(output: str) -> dict[str, float]:
    """What a run printed, and the requests a second."""
    said = [line for line in output.splitlines() if line.startswith("{")]
    found: dict[str, float] = json.loads(said[-1])
    found["requests_per_second"] = found["requests"] / found["seconds"]
    return found


def run(arguments: list[str], seconds: float) -> dict[str, float]:
    """Run a generator to its end.

    Raises:
        subprocess.SubprocessError: it failed or did not end.
    """
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=True, timeout=seconds + TIMEOUT_SECONDS
    )
    return figures(done.stdout)


class _Connection(asyncio.Protocol):
    """One keep-alive connection that asks again and again."""

    def __init__(self, request: bytes, until: float, took: list[float]) -> None:
        import httptools

        self._new_parser = httptools.HttpResponseParser
        self._request, self._until, self._took = request, until, took
        self.errors = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        request = self._request.replace(b"{n}", b"%d" % next(_numbers))
        self._parser = self._new_parser(self)
        self._start = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._took.append(now - self._start)
        self.errors += self._parser.get_status_code() > 399
        if now >= self._until or len(self._took) >= COUNT:
            self._transport.close()
        else:
            # The parser is in the middle of its call; a new one begins after it.
            asyncio.get_running_loop().call_soon(self._ask)

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += error is not None or time.perf_counter() < self._until
        if not self.ended.done():
            self.ended.set_result(None)


async def _load(url: str, body: bytes, seconds: float, connections: int, lines: list[str]) -> None:
    import numpy as np

    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    head = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", *lines]
    head.append(f"Content-Length: {len(body)}")
    request = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    took: list[float] = []
    start = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: _Connection(request, start + seconds, took), parts.hostname, parts.port
        )
        for _ in range(connections)
    ]
    await asyncio.wait(
        [protocol.ended for _, protocol in made], timeout=seconds + TIMEOUT_SECONDS / 2
    )
    milliseconds = np.array(took or [0.0]) * 1e3
    unanswered = sum(not protocol.ended.done() for _, protocol in made)
    answer = {
        "requests": len(took),
        "seconds": time.perf_counter() - start,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "max_ms": float(milliseconds.max()),
        "errors": unanswered + sum(protocol.errors for _, protocol in made),
    }
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Generate load."""
    import uvloop

    url, body, seconds, connections, *lines = sys.argv[1:]
    uvloop.run(_load(url, Path(body).read_bytes(), float(seconds), int(connections), lines))


if __name__ == "__main__":
    main()
