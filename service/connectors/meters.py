"""The bridge's own metrics: it is a process of its own, with a registry of its own."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    start_http_server,
    write_to_textfile,
)

from service.errors import Unavailable


class Meters:
    """What the bridge counts; names begin with `glassline_bridge_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = Counter(
            "glassline_bridge_messages", "Messages that came, by what became of them.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.values = Counter(
            "glassline_bridge_values", "Single values of sensors: taken into a row, known again,"
            " late for their row, or different from the one of their time.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.rows = Counter(
            "glassline_bridge_rows", "Rows that the server answered: accepted, duplicates, late.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.letters = Counter(
            "glassline_bridge_letters", "Letters put into the outbox, by kind.",
            ["kind"], registry=self.registry,
        )  # fmt: skip
        self.published = Counter(
            "glassline_bridge_published", "Letters that the broker has acknowledged, by kind.",
            ["kind"], registry=self.registry,
        )  # fmt: skip
        self.withheld = Counter(
            "glassline_bridge_withheld", "Letters kept back because their id was known: again"
            " (same content) or conflict (another).", ["why"], registry=self.registry,
        )  # fmt: skip
        self.resent = Counter(
            "glassline_bridge_resent", "Letters published again after a connection was lost.",
            registry=self.registry,
        )  # fmt: skip
        self.retries = Counter(
            "glassline_bridge_retries", "Tries that failed and are made again, by who failed.",
            ["peer"], registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "glassline_bridge_waiting", "Messages or letters on disk that wait.",
            ["box"], registry=self.registry,
        )  # fmt: skip
        self.connected = Gauge(
            "glassline_bridge_connected", "1 while the peer answers: broker, server, alarms.",
            ["peer"], registry=self.registry,
        )  # fmt: skip

    def serve(self, host: str, port: int) -> None:
        """Answer GET /metrics in a thread.

        Raises:
            Unavailable: the port is taken.
        """
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            raise Unavailable(
                f"metrics: cannot listen on {host}:{port} ({error.strerror}); choose another port."
            ) from None

    def write(self, file: Path) -> None:
        """Write them for node_exporter's textfile collector, whole or not at all.

        Raises:
            Unavailable: the file cannot be written.
        """
        try:
            write_to_textfile(str(file), self.registry)
        except OSError as error:
            raise Unavailable(f"metrics: {file}: cannot be written ({error.strerror}).") from None
