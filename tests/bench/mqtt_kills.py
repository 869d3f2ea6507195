"""The MQTT bridge, or the broker, killed again and again under load: what is lost, what differs.

    python -m tests.bench.mqtt_kills --victim bridge --kills 100
    python -m tests.bench.mqtt_kills --victim broker --kills 20
    python -m tests.bench.mqtt_kills --victim all --kills 100
    python -m tests.bench.mqtt_kills --real --victim bridge --kills 100
    python -m tests.bench.mqtt_kills --real --single --victim bridge --kills 100

The same rows go once without a kill and once with kills at random moments. A real Mosquitto, the
real bridge as a process, and the small server that keeps the contract of the streams' routes
(`tests/connectors/stream_server.py`), itself killed with `all`; with `--real` a `glassline serve`
with a detector of windows. With `--single` the run with kills publishes each sensor's values on a
topic of its own, and the other one whole rows. Counted: verdicts and alarm events that are missing,
that came with two contents, that differ from the run without kills; and letters that came more than
once with the same id and content, which QoS 1 allows.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.connectors.plant import Feeder, Plant, row, running, wait_for
from tests.running_server import start_server
from tests.small_detector import release_detector

STREAMS = 8
ENDS_S = 240.0
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
SETTINGS = {"rate": 0.02, "warm_up_rows": 0, "on_delay_s": 2, "off_delay_s": 2, "period_s": 1}


def main() -> None:
    """Both runs and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--victim", choices=["bridge", "broker", "server", "all"], default="bridge")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=40, help="rows between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="a real server, which is not killed")
    parser.add_argument("--single", action="store_true", help="one sensor a topic; wants --real")
    asked = parser.parse_args()
    if asked.single and not asked.real:
        parser.error("--single: the small server's rows have one sensor; add --real")
    if asked.real and asked.victim in ("server", "all"):
        parser.error("--real: the server's own kills are those of tests/bench; leave it alone")
    random.seed(asked.seed)
    rows = asked.kills * asked.rows // STREAMS + 20
    names = ["bridge", "broker", "server"] if asked.victim == "all" else [asked.victim]
    victims = [names[n % len(names)] for n in range(asked.kills)]
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), asked.real) as url:
        calm = run(Path(folder, "calm"), rows, [], asked, url)
        killed = run(Path(folder, "killed"), rows, victims, asked, url)
    report(calm, killed, rows, asked)


@contextlib.contextmanager
def server(folder: Path, real: bool) -> Iterator[str]:
    """Address of a real server; empty where each run has the small one."""
    if not real:
        yield ""
        return
    release_detector(folder / "home", "windows")
    one = start_server(folder / "home", folder / "server.log")
    try:
        yield one.url
    finally:
        one.stop()


def sent(name: str, rows: int, real: bool) -> list[tuple[str, dict[str, Any]]]:
    """Topics and rows, with a fault of a few seconds in each stream now and then."""
    messages = []
    for second in range(rows):
        for line in range(STREAMS):
            fault = (second + line) % 40 in range(30, 36)
            if real:
                noise = np.random.default_rng((second, line)).normal(size=2) * 0.5
                swing = 9.0 * fault * (1 if second % 2 else -1)
                moment = (NOW + timedelta(seconds=second)).isoformat()
                said = {"time": moment, "pressure": noise[0] + swing, "heat": noise[1]}
            else:
                said = row(second, 150.0 if fault else 1.0)
            messages.append((f"plant/{name}{line}/press/rows", said))
    return messages


def singly(messages: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The same, each sensor's value on a topic of its own."""
    return [
        (
            topic.replace("plant/", "cell/").replace("rows", sensor),
            {"time": said["time"], "value": v},
        )
        for topic, said in messages
        for sensor, v in said.items()
        if sensor != "time"
    ]


def run(
    folder: Path, rows: int, victims: list[str], asked: argparse.Namespace, url: str
) -> dict[str, Any]:
    """All rows through a plant, with these killed in turn; what was published."""
    folder.mkdir()
    name = "k" if victims else "c"
    options = {"model": "windows", "sensors": '"pressure", "heat"'} if url else {}
    single = asked.single and bool(victims)
    between = 2 * asked.rows if single else asked.rows
    for line in range(STREAMS) if url else ():
        path = f"{url}/v2/models/windows/streams/{name}{line}.press"
        httpx.put(path, json=SETTINGS, trust_env=False).raise_for_status()
    port = int(url.rpartition(":")[2]) if url else 0
    with running(folder, port, **options) as plant:
        began = time.monotonic()

        def told(place: int) -> None:
            if victims and place % between == between - 1:
                kill(plant, victims.pop(0))

        messages = sent(name, rows, bool(url))
        Feeder(plant.broker.port).feed(singly(messages) if single else messages, told)
        for victim in victims:
            kill(plant, victim)
        wait_for(lambda: len(of(plant, "/verdicts", name)) >= rows * STREAMS, ENDS_S)
        time.sleep(3.0)  # whatever else may still come
        return {
            "verdicts": of(plant, "/verdicts", name),
            "alarms": of(plant, "/alarms", name),
            "letters": sum(
                len(
                    [
                        one
                        for one in plant.watcher.of(ending)
                        if one.get("stream", "").startswith(name)
                    ]
                )
                for ending in ("/verdicts", "/alarms")
            ),
            "seconds": time.monotonic() - began,
        }


def of(plant: Plant, ending: str, name: str) -> dict[str, Any]:
    """Letters of this run by id, without its name; fails where one came with two contents."""
    found = {}
    for key, one in plant.watcher.distinct(ending).items():
        if one.get("stream", "").startswith(name):
            said = {**one, "stream": one["stream"][1:]}
            # An event's number hangs on which stream's rows came first; what happened does not.
            known = str(said.pop("id")) if ending == "/alarms" else key.replace(f"/{name}", "/")
            said.pop("id", None)
            said.pop("alarm", None)
            said.pop("line", None)
            found[known] = said
    return found


def kill(plant: Plant, name: str) -> None:
    """kill -9 at some moment, and start again."""
    victim = getattr(plant, name)
    # Longer than a bridge takes to start: else it would be killed before it has done anything.
    time.sleep(random.uniform(0.0, 1.5) if name == "bridge" else random.uniform(0.0, 0.3))
    victim.kill()
    victim.start()


def report(calm: dict[str, Any], killed: dict[str, Any], rows: int, asked: Any) -> None:
    """What was lost, what differs."""
    verdicts = rows * STREAMS
    distinct = len(killed["verdicts"]) + len(killed["alarms"])
    logs = [sorted(map(str, run["alarms"].values())) for run in (calm, killed)]
    kind = "real" if asked.real else "small"
    print(
        f"victim {asked.victim}, {asked.kills} kills, {verdicts} rows of {STREAMS} streams, "
        f"{kind} server{', one sensor a topic' * asked.single}, {killed['seconds']:.0f} s"
    )
    print(f"verdicts lost            {verdicts - len(killed['verdicts'])}")
    other = differing(calm["verdicts"], killed["verdicts"])
    print(f"verdicts that differ     {len(other)}")
    for name, fields in other.items():
        print(f"    {name}: {', '.join(fields)}")
    print(f"alarm events             {len(killed['alarms'])}, without kills {len(calm['alarms'])}")
    print(f"alarm log identical      {logs[0] == logs[1]}")
    print(f"events twice             {len(logs[1]) - len(set(logs[1]))}")
    print("one id, two contents     0 (the run ends at the first)")
    print(f"same letter again        {killed['letters'] - distinct} (QoS 1: at least once)")


def differing(calm: dict[str, Any], killed: dict[str, Any]) -> dict[str, list[str]]:
    """By id, each field that reads otherwise, as it was said without kills and with them."""
    found: dict[str, list[str]] = {}
    for name, said in sorted(killed.items()):
        wanted = calm.get(name, {})
        fields = sorted(f for f in {*wanted, *said} if wanted.get(f) != said.get(f))
        if fields:
            found[name] = [f"{f} {wanted.get(f)!r} -> {said.get(f)!r}" for f in fields]
    return found


if __name__ == "__main__":
    main()
