"""The MQTT bridge, or the broker, killed again and again under load: what is lost, what differs.

    python -m tests.bench.mqtt_kills --victim bridge --kills 100
    python -m tests.bench.mqtt_kills --victim broker --kills 20
    python -m tests.bench.mqtt_kills --victim all --kills 100

The same rows go once without a kill and once with kills at random moments. A real Mosquitto, the
real bridge as a process, and the small server that keeps the contract of the streams' routes
(`tests/connectors/stream_server.py`), itself killed with `all`. Counted: verdicts and alarm events
that are missing, that came with two contents, that differ from the run without kills; and letters
that came more than once with the same id and content, which QoS 1 allows.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.connectors.plant import Feeder, Plant, row, running, wait_for

STREAMS = 8
ENDS_S = 120.0


def main() -> None:
    """Both runs and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--victim", choices=["bridge", "broker", "server", "all"], default="bridge")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=40, help="rows between two kills")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random.seed(asked.seed)
    rows = asked.kills * asked.rows // STREAMS + 20
    with tempfile.TemporaryDirectory() as folder:
        calm = run(Path(folder, "calm"), rows, [], asked)
        names = ["bridge", "broker", "server"] if asked.victim == "all" else [asked.victim]
        victims = [names[n % len(names)] for n in range(asked.kills)]
        killed = run(Path(folder, "killed"), rows, victims, asked)
    report(calm, killed, rows, asked)


def run(folder: Path, rows: int, victims: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """All rows through a plant, with these killed in turn; what was published."""
    folder.mkdir()
    with running(folder) as plant:
        began = time.monotonic()
        messages = [
            (f"plant/line{line}/press/rows",
             row(second, 150.0 if (second + line) % 20 in (5, 6, 7) else 1.0))
            for second in range(rows) for line in range(STREAMS)
        ]  # fmt: skip

        def told(place: int) -> None:
            if victims and place % asked.rows == asked.rows - 1:
                kill(plant, victims.pop(0))

        Feeder(plant.broker.port).feed(messages, told)
        for victim in victims:
            kill(plant, victim)
        wait_for(lambda: len(of(plant, "/verdicts")) >= rows * STREAMS, ENDS_S)
        time.sleep(2.0)  # whatever else may still come
        return {
            "verdicts": of(plant, "/verdicts"),
            "alarms": of(plant, "/alarms"),
            "letters": len(plant.watcher.of("/verdicts")) + len(plant.watcher.of("/alarms")),
            "seconds": time.monotonic() - began,
        }


def of(plant: Plant, ending: str) -> dict[str, Any]:
    """Letters by id; fails where one came with two contents."""
    return plant.watcher.distinct(ending)


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
    # An event's number hangs on which stream's rows came first; what happened does not.
    logs = [
        sorted((a["stream"], a["time"], a["change"]) for a in run["alarms"].values())
        for run in (calm, killed)
    ]
    print(
        f"victim {asked.victim}, {asked.kills} kills, {verdicts} rows of {STREAMS} streams, "
        f"{killed['seconds']:.0f} s"
    )
    print(f"verdicts lost            {verdicts - len(killed['verdicts'])}")
    print(
        f"verdicts that differ     "
        f"{sum(calm['verdicts'].get(n) != said for n, said in killed['verdicts'].items())}"
    )
    print(f"alarm events             {len(killed['alarms'])}, without kills {len(calm['alarms'])}")
    print(f"alarm log identical      {logs[0] == logs[1]}")
    print(f"events twice             {len(logs[1]) - len(set(logs[1]))}")
    print("one id, two contents     0 (the run ends at the first)")
    print(f"same letter again        {killed['letters'] - distinct} (QoS 1: at least once)")


if __name__ == "__main__":
    main()
