"""Prometheus' rules and Grafana's board: accepted by their own tools, and about metrics we have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import metrics, stream_metrics
from service.connectors.meters import Meters
from tests.running_server import REPOSITORY

PROMETHEUS = REPOSITORY / "deploy/prometheus"
GRAFANA = REPOSITORY / "deploy/grafana"
BOARD = json.loads((GRAFANA / "dashboards/glassline.json").read_text())
GROUPS = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ON_BOARD = {
    f"{panel['title']}/{target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
#: what Prometheus itself makes
ITS_OWN = {"up", "ALERTS"}
KEYWORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "bool", "offset"}


def promtool(*arguments: str, cwd: Path = PROMETHEUS) -> str:
    """What promtool says when it accepts; the test is skipped where there is none."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("NO PROMTOOL: rules unchecked. Install Debian's package `prometheus`.")
    done = subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series() -> set[str]:
    """The names of every time series that our metrics make."""
    names = of_the_bridge()
    for name, kind, _ in metrics.documented():
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + suffix for suffix in suffixes}
    return names


def of_the_bridge() -> set[str]:
    """Those of the MQTT bridge, which has a registry of its own."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Meters().registry.collect()
    }


def named(expression: str) -> set[str]:
    """The series that a PromQL expression asks for."""
    bare = re.sub(r"#.*|\"[^\"]*\"", "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return set(words) - KEYWORDS


def test_the_names_in_an_expression_are_found() -> None:
    expression = """sum by (le, model) (rate(a_bucket{x="y_total", z=~".*"}[5m]))
        / on (job) b:c:rate5m > 0.5 or 0 * up unless ignoring (q) d  # not e"""
    assert named(expression) == {"a_bucket", "b:c:rate5m", "up", "d"}


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_names_only_series_that_exist(alert: str) -> None:
    assert named(ALERTS[alert]["expr"]) - series() - ITS_OWN - set(RECORDED) == set()


@pytest.mark.parametrize("record", sorted(RECORDED))
def test_a_recording_rule_names_only_series_that_exist(record: str) -> None:
    assert named(RECORDED[record])
    assert named(RECORDED[record]) - series() - set(RECORDED) == set()


@pytest.mark.parametrize("panel", sorted(ON_BOARD))
def test_a_panel_names_only_series_that_exist(panel: str) -> None:
    assert named(ON_BOARD[panel])
    assert named(ON_BOARD[panel]) - series() - ITS_OWN - set(RECORDED) == set()


def test_every_metric_of_streams_and_of_the_bridge_is_on_the_board() -> None:
    shown = {name for expression in ON_BOARD.values() for name in named(expression)}
    assert of_the_bridge() - shown == set()
    for metric in stream_metrics.ALL:
        (family, *_) = metric.describe()
        assert any(name.startswith(family.name) for name in shown), family.name


def test_every_recorded_series_is_used() -> None:
    asked = [rule["expr"] for rule in RULES] + list(ON_BOARD.values())
    unused = [name for name in RECORDED if not any(name in named(expr) for expr in asked)]
    assert unused == []


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_says_what_to_do_and_has_a_unit_test(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"].startswith("1. ")
    assert alert in (PROMETHEUS / "rules_test.yml").read_text()


def test_promtool_accepts_the_configuration() -> None:
    said = promtool("check", "config", "prometheus.yml")
    assert f"SUCCESS: {len(RULES)} rules found" in said


def test_the_unit_tests_of_the_rules_pass() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")


def test_promtool_accepts_every_expression_of_the_board(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{i}", "expr": filled(expr)}
        for i, expr in enumerate([*ON_BOARD.values(), *_annotations()])
    ]
    (tmp_path / "board.yml").write_text(json.dumps({"groups": [{"name": "b", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "board.yml", cwd=tmp_path)


def filled(expression: str) -> str:
    """An expression of the board as Grafana sends it with everything chosen."""
    expression = expression.replace("$__rate_interval", "1m")
    return re.sub(r"\$(instance|model)\b", ".*", expression)


def _annotations() -> list[str]:
    return [annotation["expr"] for annotation in BOARD["annotations"]["list"]]


def test_the_boards_variables_are_all_declared() -> None:
    used = set(re.findall(r"\$\{?([a-zA-Z_]+)", json.dumps(BOARD["panels"])))
    declared = {variable["name"] for variable in BOARD["templating"]["list"]}
    assert used - {"__rate_interval"} == declared


def test_the_panels_lie_on_the_grid_without_overlap() -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in BOARD["panels"]:
        grid = panel["gridPos"]
        assert 0 <= grid["x"] <= 24 - grid["w"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert (x, y) not in cells, f"{panel['title']} lies on {cells[x, y]}"
                cells[x, y] = panel["title"]


def test_panel_ids_are_unique() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_provisioned_data_source_is_the_boards_own() -> None:
    provisioned: Any = yaml.safe_load(
        (GRAFANA / "provisioning/datasources/prometheus.yml").read_text()
    )
    (source,) = provisioned["datasources"]
    variable = next(v for v in BOARD["templating"]["list"] if v["name"] == "datasource")
    assert variable["current"]["value"] == source["uid"]
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scrape["scrape_interval"]


def test_the_readme_has_every_alert_and_no_other() -> None:
    listed = re.findall(r"`(Glassline[A-Z]\w+)`", (REPOSITORY / "deploy/README.md").read_text())
    assert sorted(listed) == sorted(ALERTS)
