"""The compose files: hardened, pinned, healthy, without a secret, and accepted by Compose."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.running_server import REPOSITORY, program

DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GPU = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())
MQTT = yaml.safe_load((DEPLOY / "compose.mqtt.yaml").read_text())
LAID_OVER: dict[str, dict[str, Any]] = {k: MQTT["services"][k] for k in ("mosquitto", "bridge")}
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"] | LAID_OVER
SECRETS = {"POSTGRES_PASSWORD": "s3cret-of-postgres", "GRAFANA_PASSWORD": "s3cret-of-grafana"}
OF_MQTT = {"MQTT_PASSWORD": "s3cret-of-mqtt", "GLASSLINE_API_KEY": "gl_key"}
EACH = pytest.mark.parametrize("name", sorted(SERVICES))


def test_the_stack_is_the_server_its_records_and_who_watches_it() -> None:
    assert set(COMPOSE["services"]) == {"glassline", "postgres", "prometheus", "grafana"}
    assert set(MQTT["services"]) == {"mosquitto", "bridge", "prometheus"}


@EACH
def test_a_container_can_change_nothing_but_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert "privileged" not in service
    assert "/var/run/docker.sock" not in str(service)


@EACH
def test_an_image_is_pinned_to_a_patch_version(name: str) -> None:
    image = SERVICES[name]["image"]
    digits = r"\d+\.\d+" if image.startswith("postgres:") else r"\d+\.\d+\.\d+"
    assert re.search(rf":v?{digits}(-[a-z]+)?$", image), image


def test_our_images_carry_our_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert SERVICES["glassline"]["image"] == f"glassline:{project['version']}-cpu"
    assert GPU["services"]["glassline"]["image"] == f"glassline:{project['version']}-gpu"
    assert SERVICES["bridge"]["image"] == SERVICES["glassline"]["image"]


@EACH
def test_a_container_says_whether_it_is_healthy(name: str) -> None:
    if build := SERVICES[name].get("build"):
        dockerfile = (DEPLOY / build["context"] / build["dockerfile"]).read_text()
        assert "HEALTHCHECK" in dockerfile
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@EACH
def test_ports_are_open_on_this_machine_only_unless_told_otherwise(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.match(r"127\.0\.0\.1:|\$\{GLASSLINE_BIND:-127\.0\.0\.1\}:", port), port


@EACH
def test_a_password_comes_from_the_environment_or_compose_refuses(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if "PASSWORD" in key or "DATABASE_URL" in key:
            assert re.search(r"\$\{\w+_PASSWORD:\?[^}]+\}", value), key


def test_every_setting_of_ours_exists() -> None:
    given = SERVICES["glassline"]["environment"]
    assert set(given) <= {f"GLASSLINE_{name.upper()}" for name in Settings.model_fields}


def test_the_record_store_is_reached_with_psycopg() -> None:
    url = SERVICES["glassline"]["environment"]["GLASSLINE_DATABASE_URL"]
    assert url.startswith("postgresql+psycopg://glassline:")
    assert url.endswith("@postgres:5432/glassline")


@EACH
def test_every_mounted_file_is_in_the_repository_and_read_only(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, *rest = mount.split(":")
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
            assert rest[-1] == "ro"
        else:
            assert source in COMPOSE["volumes"] | MQTT["volumes"]


def test_prometheus_is_told_what_is_demanded_of_the_server() -> None:
    for kind, device in (("cpu", "cpu"), ("gpu", "cuda")):
        (target,) = yaml.safe_load((DEPLOY / f"prometheus/targets/{kind}.yml").read_text())
        assert target == {"targets": ["glassline:3000"], "labels": {"device": device}}


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Compose, which needs no daemon to read its files."""
    for name, *rest in (["docker", "compose"], ["docker-compose"]):
        if found := program(name):
            command = [found, *rest]
            known = subprocess.run([*command, "version"], capture_output=True, check=False)
            if known.returncode == 0:
                break
    else:
        pytest.skip("NO DOCKER COMPOSE: its files were checked by their structure alone.")
    inherited = {k: v for k, v in os.environ.items() if k not in SECRETS | OF_MQTT}
    return subprocess.run(
        [*command, *arguments],
        cwd=REPOSITORY,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_compose_accepts_the_files_together() -> None:
    both = ("-f", "deploy/compose.yaml", "-f", "deploy/compose.gpu.yaml")
    done = compose(*both, "config", **SECRETS)
    assert done.returncode == 0, done.stderr
    merged = yaml.safe_load(done.stdout)["services"]
    assert merged["glassline"]["build"]["dockerfile"] == "deploy/docker/Dockerfile.gpu"
    assert merged["glassline"]["read_only"] is True
    targets = [v["source"] for v in merged["prometheus"]["volumes"] if "targets" in v["target"]]
    assert targets == [str(DEPLOY / "prometheus/targets/gpu.yml")]


def test_compose_lays_the_broker_and_the_bridge_over_the_rest() -> None:
    both = ("-f", "deploy/compose.yaml", "-f", "deploy/compose.mqtt.yaml")
    done = compose(*both, "config", **SECRETS, **OF_MQTT)
    assert done.returncode == 0, done.stderr
    merged = yaml.safe_load(done.stdout)["services"]
    assert set(merged) == set(SERVICES)
    mounted = {v["target"] for v in merged["prometheus"]["volumes"]}
    assert {"/etc/prometheus/bridges/bridge.yml", "/etc/prometheus/rules.yml"} <= mounted
    for missing in OF_MQTT:
        given = {name: value for name, value in OF_MQTT.items() if name != missing}
        done = compose(*both, "config", **SECRETS, **given)
        assert done.returncode != 0
        assert f"set {missing} to" in done.stderr


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_compose_refuses_without_a_password_and_names_it(missing: str) -> None:
    given = {name: value for name, value in SECRETS.items() if name != missing}
    done = compose("-f", "deploy/compose.yaml", "config", **given)
    assert done.returncode != 0
    assert f"set {missing} to" in done.stderr


def test_the_readme_lists_every_variable_with_its_default() -> None:
    readme = (DEPLOY / "README.md").read_text()
    files = "".join(path.read_text() for path in sorted(DEPLOY.glob("compose*.yaml")))
    variables = dict(re.findall(r"\$\{(\w+):[-?]([^}]*)\}", files))
    assert set(variables) >= set(SECRETS | OF_MQTT)
    for name, default in variables.items():
        row = next((line for line in readme.splitlines() if f"`{name}`" in line), None)
        assert row, f"{name} is in no table of deploy/README.md"
        field = Settings.model_fields.get(name.removeprefix("GLASSLINE_").lower())
        if field is not None:
            assert default == str(field.default)
        elif name not in SECRETS | OF_MQTT:
            assert f"`{default}`" in row
