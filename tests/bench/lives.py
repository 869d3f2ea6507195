"""One life of one server: start, first right answer, load, stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from tests.bench import load
from tests.bench.subjects import CORES, MODEL, Subject
from tests.bench.variants import Form, Server, environment

START_SECONDS = 90
STOP_SECONDS = 15
TOLERANCE = 1e-4
#: A measurement from which the host took more of the cores' time than this is repeated.
STOLEN = 0.03
TRIES = 3
#: Explanations asked for at a time where they run all the while: the queue is never empty.
EXPLAINING = 2


class DoesNotServe(Exception):
    """A server that did not start, or answered something else; the message has its words."""


@dataclass(frozen=True, slots=True)
class Life:
    """A server that answers right."""

    server: Server
    subject: Subject
    port: int
    folder: Path
    #: from the start of the process to the first right answer
    start_seconds: float


def free_ports(count: int = 3) -> int:
    """The first of so many neighbouring TCP ports that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        taken = False
        for port in range(first, min(first + count, 65_536)):
            with socket.socket() as probe:
                taken = taken or probe.connect_ex(("127.0.0.1", port)) == 0
        if not taken and first + count < 65_536:
            return first


@contextmanager
def life(server: Server, subject: Subject, folder: Path) -> Iterator[Life]:
    """A running server.

    Args:
        server: which.
        subject: the graph it serves.
        folder: a fresh folder for its home, log and request bodies.

    Raises:
        NotInstalled: its environment cannot be made.
        DoesNotServe: it did not start, or answers wrong.
    """
    interpreter, port, home = server.interpreter(), free_ports(), folder / "home"
    if not server.requirements:
        subject.release(home)
    log = folder / "log"
    start = time.perf_counter()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [interpreter, *(a.replace("{port}", str(port)) for a in server.arguments)],
            cwd=server.folder,
            env=environment(server, subject.graph(), subject.threads, port, home),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(server.forms[0], subject, port, process, log)
        seconds = time.perf_counter() - start
        for form in server.forms:
            _check(form, subject, port)
        yield Life(server, subject, port, folder, seconds)
    finally:
        _stop(process)


def _await(
    form: Form, subject: Subject, port: int, process: subprocess.Popen[bytes], log: Path
) -> None:
    said, deadline = "nothing", time.perf_counter() + START_SECONDS
    while process.poll() is None and time.perf_counter() < deadline:
        try:
            response = _ask(form, subject, port)
            if response.status_code == 200:
                return
            said = f"{response.status_code} {response.text[:200]}"
        except httpx.HTTPError as error:
            said = repr(error)
        time.sleep(0.02)
    raise DoesNotServe(f"no answer (last: {said}); log: {log.read_text()[-1500:]}")


def _ask(form: Form, subject: Subject, port: int) -> httpx.Response:
    body, headers = form.body(subject.image())
    url = f"http://127.0.0.1:{port}{form.path}"
    return httpx.post(url, content=body, headers=headers, timeout=30, trust_env=False)


def _check(form: Form, subject: Subject, port: int) -> None:
    response = _ask(form, subject, port)
    try:
        got = form.probabilities(response)
        right = np.allclose(got, subject.expected(), rtol=0, atol=TOLERANCE)
    except (KeyError, ValueError, TypeError) as error:
        raise DoesNotServe(f"{form.name}: {error!r} in {response.text[:300]}") from None
    if not right:
        raise DoesNotServe(f"{form.name}: probabilities differ from ONNX Runtime's: {got[:4]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind
    except ProcessLookupError:
        pass
    process.wait()


def _stolen() -> float:
    """Seconds, over all cores, that a hypervisor has given to others since boot."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:  # not Linux
        return 0.0
    return int(first[8]) / os.sysconf("SC_CLK_TCK")


def _load(arguments: list[str], seconds: float) -> dict[str, float]:
    """A run; run again where too much was stolen, and then the least disturbed one counts."""
    tries: list[dict[str, float]] = []
    while len(tries) < TRIES and (not tries or tries[-1]["stolen"] > STOLEN):
        before, start = _stolen(), time.perf_counter()
        found = load.run(arguments, seconds)
        share = (_stolen() - before) / (time.perf_counter() - start) / CORES
        tries.append({**found, "stolen": share})
    return {**min(tries, key=lambda one: one["stolen"]), "tries": len(tries)}


def measure(
    alive: Life, form: Form, connections: int, seconds: float, kind: str
) -> dict[str, float]:
    """Load one form of asking, after a warm-up, and say what came back.

    Returns:
        requests, seconds, requests_per_second, p50_ms, p99_ms, max_ms, errors; where
        explanations run all the while also explanations_per_second and explanation_errors.
        stolen is the share of the cores' time that the host gave to others meanwhile, and
        tries the number of runs, of which the least disturbed counts.
    """
    body, headers = form.body(alive.subject.image())
    path = alive.folder / f"{form.name}.body"
    path.write_bytes(body)
    base = f"http://127.0.0.1:{alive.port}"

    def command(how_long: float) -> list[str]:
        return load.command(kind, base + form.path, path, headers, how_long, connections)

    load.run(command(1), 1)
    if not alive.server.explaining:
        return _load(command(seconds), seconds)
    lead = 2.0
    explain = load.command(
        "asyncio", f"{base}/v2/models/{MODEL}/explain?seed={{n}}", path, headers,
        lead + TRIES * (seconds + 1), EXPLAINING,
    )  # fmt: skip
    explaining = subprocess.Popen(explain, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(lead)
        found = _load(command(seconds), seconds)
        said, _ = explaining.communicate(timeout=TRIES * seconds + load.TIMEOUT_SECONDS)
    finally:
        explaining.kill()
    explained = load.figures(said)
    return {
        **found,
        "explanations_per_second": explained["requests_per_second"],
        "explanation_errors": explained["errors"],
    }
