"""The broker's and the bridge's files of deploy/mqtt/, on a real Mosquitto and a real bridge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.connectors.config import read
from tests.connectors.broker import Broker, needs_mosquitto
from tests.running_server import REPOSITORY, glassline, program

DEPLOY = REPOSITORY / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.mqtt.yaml").read_text())["services"]
PASSWORD = "s3cret"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICES["bridge"]["environment"]:
        monkeypatch.setenv(name, PASSWORD)


@pytest.mark.usefixtures("environment")
def test_the_bridges_file_leads_to_the_services_beside_it() -> None:
    config = read(DEPLOY / "mqtt/bridge.toml")
    assert config.broker.host in SERVICES
    assert config.server.url == "http://glassline:3000"
    (target,) = yaml.safe_load((DEPLOY / "prometheus/bridges/bridge.yml").read_text())
    assert target["targets"] == [f"bridge:{config.metrics.port}"]
    assert str(config.metrics.port) in " ".join(SERVICES["bridge"]["healthcheck"]["test"])
    volume = next(v for v in SERVICES["bridge"]["volumes"] if v.endswith(":/data"))
    assert config.store.file.parent == Path(volume.partition(":")[2])


def test_the_broker_keeps_what_the_bridges_documentation_tells_it_to_keep() -> None:
    said = (REPOSITORY / "service/connectors/README.md").read_text()
    wanted = said.split("Mosquitto:\n\n```\n")[1].split("```")[0]
    lines = [line.split(" #")[0].strip() for line in wanted.splitlines()]
    own = (DEPLOY / "mqtt/mosquitto.conf").read_text().splitlines()
    missing = {line for line in lines if line and not line.startswith(("#", "persistence_loc"))}
    assert missing - set(own) == set()
    assert "allow_anonymous false" in own


@needs_mosquitto
@pytest.mark.usefixtures("environment")
def test_the_bridge_is_let_in_with_the_password_and_nobody_without(tmp_path: Path) -> None:
    """By the container's own command, its paths moved."""
    makes = SERVICES["mosquitto"]["command"][2].partition(" && ")[0]
    passwd = tmp_path / "passwd"
    tool = program("mosquitto_passwd")
    assert tool is not None
    made = makes.replace("mosquitto_passwd", tool, 1).replace("/tmp/passwd", str(passwd))
    subprocess.run(
        ["sh", "-c", made.replace("$$", "$")], env={"MQTT_PASSWORD": PASSWORD}, check=True,
        capture_output=True,
    )  # fmt: skip
    kept = "listener", "persistence", "autosave", "max_", "#", "log_dest"
    lines = (DEPLOY / "mqtt/mosquitto.conf").read_text().splitlines()
    own = "\n".join(line for line in lines if line and not line.startswith(kept))
    broker = Broker(tmp_path / "broker", own.replace("/tmp/passwd", str(passwd)) + "\n")
    broker.start()
    try:
        text = (DEPLOY / "mqtt/bridge.toml").read_text()
        text = text.replace('"mosquitto"', f'"127.0.0.1"\nport = {broker.port}')
        config = tmp_path / "bridge.toml"
        config.write_text(text.replace("/data", str(tmp_path)))
        for password, said in ((PASSWORD, "ok broker"), ("wrong", "Not authorized")):
            done = glassline(
                "bridge", "mqtt", "--check", str(config), home=tmp_path,
                GLASSLINE_MQTT_PASSWORD=password,
            )  # fmt: skip
            assert said in done.stdout, done.stdout + done.stderr
    finally:
        broker.stop()


def test_the_health_check_is_python_that_runs() -> None:
    name, python, flag, code = SERVICES["bridge"]["healthcheck"]["test"]
    assert (name, python, flag) == ("CMD", "python", "-c")
    done = subprocess.run([sys.executable, flag, code], capture_output=True, check=False)
    assert (done.returncode, b"ConnectionRefused" in done.stderr) == (1, True)
