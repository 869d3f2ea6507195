"""A plant around a bridge: broker, server, the bridge as a process, and a client that watches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.connectors.broker import Broker
from tests.running_server import REPOSITORY, free_port

CONFIG = """\
[broker]
host = "127.0.0.1"
port = {broker}
client_id = "{client_id}"
{broker_extra}
[server]
url = "http://127.0.0.1:{server}"
[store]
file = "bridge.db"
payload_bytes = 4096
[publish]
status_s = 0.5
[[subscribe]]
topic = "plant/{{line}}/{{group}}/rows"
model = "{model}"
stream = "{{line}}.{{group}}"
[[subscribe]]
topic = "other/{{model}}/{{line}}"
model = "{{model}}"
stream = "{{line}}"
[[subscribe]]
topic = "cell/{{line}}/{{group}}/{{sensor}}"
model = "{model}"
stream = "{{line}}.{{group}}"
join = {{ sensors = [{sensors}] }}
[[subscribe]]
topic = "held/{{line}}/{{group}}/{{sensor}}"
model = "{model}"
stream = "{{line}}.{{group}}"
join = {{ sensors = [{sensors}], period_s = 1, wait_s = 0.5, hold_s = 3 }}
[feedback]
topic = "plant/feedback"
"""


#: As `resend_s` of the bridge.
RESEND_S = 5.0


@dataclass
class Program:
    """A process that is killed and started again."""

    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is not waited for."""
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                cwd=REPOSITORY,
                env={**os.environ, **self.environment},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)


def bridge_program(folder: Path, broker: int, server: int, **options: str) -> Program:
    """`glassline bridge mqtt`, with a configuration in the folder."""
    said = {
        "client_id": "bridge", "broker_extra": "", "model": "skab", "sensors": '"flow", "heat"',
        **options,
    }  # fmt: skip
    config = folder / "bridge.toml"
    config.write_text(CONFIG.format(broker=broker, server=server, **said))
    run = "from service.cli import main; main()"
    return Program([sys.executable, "-c", run, "bridge", "mqtt", str(config)], folder / "log")


def server_program(folder: Path, port: int) -> Program:
    """The small server that keeps the contract."""
    module = [sys.executable, "-m", "tests.connectors.stream_server"]
    return Program([*module, str(folder / "rows"), str(port)], folder / "server.log")


class Watcher:
    """Everything that the bridge publishes, and a way to publish at QoS 1.

    Its session is kept by the broker: what comes while it is away comes later.
    """

    def __init__(self, port: int, topic: str = "glassline/#", name: str = "watcher") -> None:
        self.messages: list[tuple[str, Any]] = []
        self._topic = topic
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=False,
            protocol=mqtt.MQTTv311,
        )  # fmt: skip
        self.client.reconnect_delay_set(0.1, 0.5)
        self.client.max_inflight_messages_set(100)
        self.client.on_message = self._take
        self.client.on_connect = self._subscribe
        self.subscribed = False
        self.client.on_subscribe = self._ready
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_for(lambda: self.subscribed, 10)

    def _subscribe(self, *_: Any) -> None:
        self.client.subscribe(self._topic, qos=1)

    def _ready(self, *_: Any) -> None:
        self.subscribed = True

    def _take(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.messages.append((message.topic, json.loads(message.payload)))

    def of(self, ending: str) -> list[Any]:
        """Payloads on topics with this ending."""
        return [said for topic, said in list(self.messages) if topic.endswith(ending)]

    def distinct(self, ending: str) -> dict[str, Any]:
        """The same by id; fails where one id came with two contents."""
        found: dict[str, Any] = {}
        for said in self.of(ending):
            assert found.setdefault(said["id"], said) == said
        return found

    def publish(self, topic: str, said: Any) -> mqtt.MQTTMessageInfo:
        """At QoS 1; the client sends it again until the broker acknowledges."""
        payload = said if isinstance(said, bytes) else json.dumps(said)
        return self.client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Part."""
        self.client.disconnect()
        self.client.loop_stop()


class Feeder:
    """Publishes at QoS 1 as the documentation tells publishers to.

    In order, and after a lost connection again from what was acknowledged in the last seconds
    before: a broker acknowledges before it saves.
    """

    WINDOW = 100

    def __init__(self, port: int) -> None:
        self._port = port
        self._acknowledged: list[float] = []
        self._lost = True

    def feed(self, messages: Sequence[tuple[str, Any]], told: Callable[[int], Any]) -> None:
        """All of them; `told` is called with the place of each before it goes, once."""
        reached = at = done = 0
        client: mqtt.Client | None = None
        while done < len(messages):
            if self._lost:
                at = done = self._from()
                client = self._connected(done)
            assert client is not None
            while at < len(messages) and at < done + self.WINDOW and not self._lost:
                if at == reached:
                    reached += 1
                    told(at)
                topic, said = messages[at]
                client.publish(topic, json.dumps(said), qos=1)
                at += 1
            done = len(self._acknowledged)
            time.sleep(0.001)
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _from(self) -> int:
        """The first message that goes again; from there on nothing counts as acknowledged."""
        last = self._acknowledged[-1] if self._acknowledged else 0.0
        self._acknowledged = [one for one in self._acknowledged if one < last - RESEND_S]
        return len(self._acknowledged)

    def _connected(self, done: int) -> mqtt.Client:
        """A client of a new connection; acknowledgements come in order (MQTT 5.0, 4.6)."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.max_inflight_messages_set(self.WINDOW)
        client.on_publish = lambda *_: self._acknowledged.append(time.monotonic())
        client.on_disconnect = lambda *_: setattr(self, "_lost", True)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.connect("127.0.0.1", self._port)
                break
            except OSError:
                assert time.monotonic() < deadline, f"no broker, {done} messages are done"
                time.sleep(0.02)
        self._lost = False
        client.loop_start()
        return client


@dataclass
class Plant:
    """All of it, running."""

    folder: Path
    broker: Broker
    server: Program
    bridge: Program
    watcher: Watcher


@contextmanager
def running(folder: Path, port: int = 0, **options: str) -> Iterator[Plant]:
    """A plant that is up, and is put away at the end; a server of its own unless on a port."""
    given, port = bool(port), port or free_port()
    broker = Broker(folder / "broker")
    broker.start()
    server, bridge = (
        server_program(folder, port),
        bridge_program(folder, broker.port, port, **options),
    )
    if not given:
        server.start()
    bridge.start()
    watcher = Watcher(broker.port)
    try:
        wait_for(lambda: any(said["state"] == "online" for said in watcher.of("/status")), 30)
        yield Plant(folder, broker, server, bridge, watcher)
    finally:
        watcher.close()
        for one in (bridge, server, broker):
            if one.process is not None and one.process.poll() is None:
                one.kill()


def killing(victims: list[Any], every: int) -> Callable[[int], None]:
    """For `Feeder.feed`: kill and start the next of them near the end of so many messages each."""

    def told(place: int) -> None:
        if place % every == every - 10:
            victim = victims.pop(0)
            victim.kill()
            victim.start()

    return told


def wait_for(true: Callable[[], Any], seconds: float = 30) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen in time")
        time.sleep(0.02)


def row(second: int, value: float = 1.0) -> dict[str, Any]:
    """One row of a stream, `second` seconds after noon."""
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return {"time": f"2026-11-26T{12 + hour:02}:{minute:02}:{second:02}Z", "flow": value}
