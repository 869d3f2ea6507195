"""The bridge's configuration, its check, and how it gets into a broker that asks who comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.connectors.command import EXAMPLE
from service.connectors.config import read
from service.connectors.meters import Meters
from service.errors import InvalidParameter
from tests.connectors.broker import Broker, needs_mosquitto
from tests.connectors.plant import Program, bridge_program, row, server_program, wait_for
from tests.running_server import REPOSITORY, free_port, glassline

MINIMAL = """\
[broker]
host = "b"
{broker}
[[subscribe]]
topic = "{topic}"
model = "skab"
stream = "{stream}"
{more}
"""

SINGLE = {"topic": "p/{line}/{sensor}"}


def _written(
    folder: Path, broker: str = "", topic: str = "p/{line}", stream: str = "{line}", more: str = ""
) -> Path:
    file = folder / "bridge.toml"
    file.write_text(
        MINIMAL.replace("{broker}", broker)
        .replace("{topic}", topic)
        .replace("{stream}", stream)
        .replace("{more}", more)
    )
    return file


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(EXAMPLE)
    config = read(file)
    assert config.filters == ("plant/+/+/rows", "plant/feedback")
    assert config.store.file == tmp_path / "bridge.db"


@pytest.mark.parametrize("rule", ["wait_s", "period_s"])
def test_the_example_of_one_sensor_a_topic_is_one_too(tmp_path: Path, rule: str) -> None:
    block = EXAMPLE.partition("# [[subscribe]]")[2].partition("[feedback]")[0]
    lines = [line.removeprefix("# ") for line in block.splitlines()]
    lines = [line for line in lines if not line.startswith("join") or rule in line]
    file = tmp_path / "bridge.toml"
    file.write_text(EXAMPLE + "\n[[subscribe]]\n" + "\n".join(lines))
    one = read(file).subscribe[-1]
    assert one.join is not None
    assert bool(one.join.period_s) == (rule == "period_s")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"broker": "port = 70000"}, "broker.port"),
        ({"broker": "colour = 1"}, "broker.colour"),
        ({"broker": 'ca_file = "ca.pem"'}, "want tls = true"),
        ({"broker": 'password_file = "x"'}, "wants a username"),
        ({"broker": 'tls = true\ncert_file = "x"'}, "go together"),
        ({"topic": "p/#/x"}, "whole level, or # as the last one"),
        ({"stream": "{group}"}, "names no such level"),
        ({"topic": "p/{line}/{sensor}"}, "{sensor} wants join"),
        (SINGLE | {"stream": "{sensor}", "more": 'join = { sensors = ["a"] }'}, "no such level"),
        ({"more": 'join = { sensors = ["a"] }'}, "{sensor} wants join"),
        (SINGLE | {"more": 'join = { sensors = ["a", "a"] }'}, "each once"),
        (SINGLE | {"more": "join = { sensors = [] }"}, "join.sensors"),
        (SINGLE | {"more": 'join = { sensors = ["a"], period_s = 0.01 }'}, "at most 1000 times"),
        (SINGLE | {"more": 'values_field = "v"\njoin = { sensors = ["a"] }'}, "of whole rows"),
        ({"broker": "host = 2"}, "no TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, said: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason):
        read(_written(tmp_path, **said))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot be read"):
        read(tmp_path / "nothing.toml")
    (tmp_path / "empty.toml").write_text("[broker]\nhost = 'b'\n")
    with pytest.raises(InvalidParameter, match="subscribe"):
        read(tmp_path / "empty.toml")


def test_every_metric_of_the_bridge_is_on_its_page() -> None:
    page = (REPOSITORY / "service/connectors/README.md").read_text()
    for family in Meters().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in page


def test_the_command_teaches(tmp_path: Path) -> None:
    assert "persistence true" in glassline("bridge", "mqtt", "--help", home=tmp_path).stdout
    assert glassline("bridge", "mqtt", "--example", home=tmp_path).stdout == EXAMPLE
    nothing = glassline("bridge", "mqtt", home=tmp_path)
    assert nothing.returncode == 1
    assert "--example" in nothing.stderr


def test_without_aiomqtt_it_says_which_extra_to_install(tmp_path: Path) -> None:
    """As it is after `pip install glassline[cpu]`: the module cannot be found."""
    (tmp_path / "bridge.toml").write_text(EXAMPLE)
    hidden = (
        "import sys; sys.modules['aiomqtt'] = None; from service.cli import main; "
        "sys.argv = ['glassline', 'bridge', 'mqtt', 'bridge.toml']; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
    )  # fmt: skip
    assert run.returncode == 1
    assert "pip install 'glassline[mqtt]'" in run.stderr
    assert "aiomqtt, which is not installed" in run.stderr
    assert "Traceback" not in run.stderr


def _authority(folder: Path) -> str:
    """A CA and a server's certificate; what Mosquitto must be told."""
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made = [
        [*run, "-subj", "/CN=Plant CA", "-keyout", "ca.key", "-out", "ca.pem"],
        [*run, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
         "basicConstraints=CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout",
         "broker.key", "-out", "broker.pem"],
        ["mosquitto_passwd", "-b", "-c", "passwords", "bridge", "correct horse"],
        ["mosquitto_passwd", "-b", "passwords", "plant", "steel"],
    ]  # fmt: skip
    for command in made:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "acl").write_text(
        "user bridge\ntopic read plant/#\ntopic read other/#\ntopic readwrite glassline/#\n"
        "user plant\ntopic readwrite #\n"
    )
    return (
        f"cafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key\n"
        f"password_file {folder}/passwords\nacl_file {folder}/acl\nallow_anonymous false\n"
    )


@needs_mosquitto
def test_tls_password_and_permissions(tmp_path: Path) -> None:
    """One broker that lets nobody in who does not prove himself; both protocols."""
    broker = Broker(tmp_path / "broker", extra=_authority(tmp_path))
    broker.start()
    port = free_port()
    server = server_program(tmp_path, port)
    server.start()
    extra = 'tls = true\nca_file = "ca.pem"\nusername = "bridge"\npassword_file = "secret"'
    program = bridge_program(tmp_path, broker.port, port, broker_extra=extra)
    config = program.command[-1]
    check = ("bridge", "mqtt", "--check", config)
    try:
        (tmp_path / "secret").write_text("wrong")
        wrong = glassline(*check, home=tmp_path)
        assert wrong.returncode == 1
        assert "Not authorized" in wrong.stdout
        (tmp_path / "secret").write_text("correct horse\n")
        right = glassline(*check, home=tmp_path)
        assert right.returncode == 0, right.stdout
        assert "/v2/models/skab/streams/LINE.GROUP" in right.stdout
        for second, protocol in enumerate(("3.1.1", "5")):
            chosen = f'{extra}\nprotocol = "{protocol}"'
            bridge = bridge_program(tmp_path, broker.port, port, broker_extra=chosen)
            _flows(broker, bridge, tmp_path, second)
        _refused_and_then_allowed(broker, bridge, tmp_path)
    finally:
        broker.kill()
        server.kill()


def _clients(broker: Broker, folder: Path) -> list[str]:
    """What Mosquitto's own clients must be told to be let in."""
    who = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", "plant", "-P", "steel", "-q", "1"]
    return [*who, "--cafile", str(folder / "ca.pem")]


def _flows(broker: Broker, bridge: Program, folder: Path, second: int) -> None:
    """A row goes in and its verdict comes out."""
    port = free_port()
    bridge.command += ["--metrics-port", str(port)]
    bridge.start()
    try:
        _ask(broker, folder, second)
        assert _answer(broker, folder, second)["time"] == row(second)["time"]
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert 'glassline_bridge_connected{peer="broker"} 1.0' in told
        assert 'glassline_bridge_rows_total{outcome="accepted"} 1.0' in told
    finally:
        bridge.kill()


def _refused_and_then_allowed(broker: Broker, bridge: Program, folder: Path) -> None:
    """What the broker refuses to publish is not lost; it goes when it may."""
    acl = folder / "acl"
    allowed = acl.read_text()
    acl.write_text(allowed.replace("glassline/#", "glassline/bridge/#"))
    broker.kill()
    broker.start()
    log = bridge.log.stat().st_size
    bridge.start()
    try:
        _ask(broker, folder, 2)
        wait_for(lambda: "refuses to publish" in bridge.log.read_text()[log:])
        acl.write_text(allowed)
        assert broker.process is not None
        broker.process.send_signal(signal.SIGHUP)
        assert _answer(broker, folder, 2)["time"] == row(2)["time"]
    finally:
        bridge.kill()


def _ask(broker: Broker, folder: Path, second: int) -> None:
    """Publish a row, for a watcher whose session is kept from now on."""
    who = _clients(broker, folder)
    topic = f"glassline/skab/7.press{second}/verdicts"
    subscribe = ["mosquitto_sub", *who, "-t", topic, "-i", f"watch{second}", "-c", "-E"]
    subprocess.run(subscribe, check=True)
    said = ["-t", f"plant/7/press{second}/rows", "-m", json.dumps(row(second)), "-r"]
    subprocess.run(["mosquitto_pub", *who, *said], check=True)


def _answer(broker: Broker, folder: Path, second: int) -> dict[str, Any]:
    """The verdict that the watcher gets."""
    who = _clients(broker, folder)
    topic = f"glassline/skab/7.press{second}/verdicts"
    watch = ["-t", topic, "-i", f"watch{second}", "-c", "-C", "1", "-W", "30"]
    done = subprocess.run(["mosquitto_sub", *who, *watch], capture_output=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said
