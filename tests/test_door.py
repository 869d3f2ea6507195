"""A replica leaves while clients are at it, and nobody notices."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.door import turn_away
from tests.running_server import Server, free_port, start_server

INFER = "/v2/models/lenet-digits/infer"


def test_who_began_before_the_door_closed_comes_in_and_who_begins_after_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as door:
        where = door.getsockname()
        with socket.create_connection(where, timeout=1) as early:
            turn_away(door)
            late = socket.socket()
            late.settimeout(0.3)
            with late, pytest.raises(TimeoutError):
                late.connect(where)
            early.sendall(b"still here")
            accepted, _ = door.accept()
            with accepted:
                assert accepted.recv(10) == b"still here"
        door.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where, timeout=1)


class Client(threading.Thread):
    """Asks one replica until it says `close` or refuses the connection, then the next one.

    A connection is used for so many requests: with one, each may meet a closing door.

    Nothing that was sent is ever sent again: whatever goes wrong after that is a failure.

    Args:
        ports: of the replicas.
        body: a picture.
        uses: requests a connection.
        enough: set when enough was asked.
    """

    def __init__(
        self, ports: Iterator[int], body: bytes, uses: int, enough: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._ports = ports
        self._body = body
        self._uses = uses
        self._enough = enough
        self.answered: dict[int, int] = {}
        self.refused = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection = None
        while not self._enough.is_set():
            if connection is None:
                port, used = next(self._ports), 0
                connection = self._connected(port)
                continue
            try:
                connection.request("POST", INFER, self._body, {"Content-Type": "image/png"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{time.monotonic():.3f} port {port}: {error!r}")
                connection.close()
                connection = None
                continue
            if answer.status == 200:
                self.answered[port] = self.answered.get(port, 0) + 1
            else:
                self.failures.append(f"port {port}: {answer.status}")
            used += 1
            if connection.sock is None or used == self._uses:  # None: the answer said `close`
                connection.close()
                connection = None
        if connection:
            connection.close()

    def _connected(self, port: int) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.connect()
        except OSError:
            connection.close()
            self.refused += 1
            return None
        return connection


@pytest.fixture
def replicas(home: Path, tmp_path: Path) -> Iterator[list[Server]]:
    """Two servers of two workers each."""
    running = [replica(home, tmp_path, free_port()) for _ in range(2)]
    yield running
    for server in running:
        if server.process.poll() is None:
            server.stop()


def replica(home: Path, folder: Path, port: int) -> Server:
    return start_server(
        home,
        folder / f"log-{port}",
        GLASSLINE_PORT=str(port),
        GLASSLINE_WORKERS="2",
        GLASSLINE_DATABASE_URL=f"sqlite:///{folder / f'{port}.db'}",
    )


@pytest.mark.slow
def test_replicas_are_stopped_and_started_in_turn_and_no_request_fails(
    replicas: list[Server], home: Path, tmp_path: Path, digit_png: bytes
) -> None:
    ports = [int(server.url.rpartition(":")[2]) for server in replicas]
    stop = threading.Event()
    clients = [
        Client(itertools.cycle(ports), digit_png, uses, stop) for uses in (1, 1, 1, 1, 5, 5, 50, 50)
    ]
    for client in clients:
        client.start()
    time.sleep(1)
    assert replicas[0].stop() == 0
    time.sleep(0.5)
    replicas[0] = replica(home, tmp_path, ports[0])
    assert replicas[1].stop() == 0
    time.sleep(1)
    stop.set()
    for client in clients:
        client.join(30)
        assert not client.is_alive()
    assert [failure for client in clients for failure in client.failures] == []
    for port in ports:
        assert sum(client.answered.get(port, 0) for client in clients) > 100
    assert sum(client.refused for client in clients) > 0
