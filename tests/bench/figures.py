"""What a bench says of its measurements: medians, ratios, goals, tables."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

#: One measurement: model, server, form, connections, round, and what `lives.measure` found.
Row = dict[str, Any]
YARDSTICK = "starlette"


def summary(rows: Iterable[Row]) -> list[Row]:
    """Medians over the rounds, the worst maximum, all errors, and the ratio to the yardstick.

    `of_yardstick` is requests a second over plain Starlette's in the same form, which is bytes
    for `binary`; None where that was not measured.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row["model"], row["connections"], row["server"], row["form"])
        groups.setdefault(key, []).append(row)
    found = []
    for (model, connections, server, form), same in groups.items():
        line = {"model": model, "connections": connections, "server": server, "form": form}
        for name in ("requests_per_second", "p50_ms", "p99_ms", "start_seconds", "stolen"):
            values = [row[name] for row in same if row.get(name) is not None]
            line[name] = median(values) if values else None
        line["max_ms"] = max(row["max_ms"] for row in same)
        line["errors"] = sum(row["errors"] for row in same)
        line["rounds"] = len(same)
        if "explanations_per_second" in same[0]:
            line["explanations_per_second"] = median(r["explanations_per_second"] for r in same)
            line["explanation_errors"] = sum(r["explanation_errors"] for r in same)
        found.append(line)
    for line in found:
        yardstick = _rate(found, line["model"], YARDSTICK, line["form"], line["connections"])
        rate = line["requests_per_second"]
        line["of_yardstick"] = rate / yardstick if yardstick else None
    return found


def _value(
    lines: list[Row], name: str, model: str, server: str, form: str, connections: int
) -> float | None:
    wanted = (model, server, form, connections)
    for line in lines:
        if (line["model"], line["server"], line["form"], line["connections"]) == wanted:
            value: float | None = line[name]
            return value
    return None


def _rate(lines: list[Row], model: str, server: str, form: str, connections: int) -> float | None:
    return _value(lines, "requests_per_second", model, server, form, connections)


#: Figures to reach: what; metric; model; ours (server, form); theirs, or None for a plain
#: value; `>=` or `<=`; goal. Connections are 8 throughout.
_GOALS: tuple[tuple[str, str, str, tuple[str, str], tuple[str, str] | None, str, float], ...] = (
    ("binary / plain Starlette bytes", "requests_per_second", "lenet5",
     ("ours", "binary"), ("starlette", "binary"), ">=", 1.0),
    ("JSON / plain Starlette orjson", "requests_per_second", "lenet5",
     ("ours", "json"), ("starlette", "json"), ">=", 1.0),
    ("JSON / MLServer", "requests_per_second", "lenet5",
     ("ours", "json"), ("mlserver", "json"), ">=", 3.0),
    ("JSON / BentoML native", "requests_per_second", "lenet5",
     ("ours", "json"), ("bentoml", "json"), ">=", 6.0),
    ("JSON / FastAPI", "requests_per_second", "lenet5",
     ("ours", "json"), ("fastapi", "json"), ">=", 1.0),
    ("JSON / LitServe", "requests_per_second", "lenet5",
     ("ours", "json"), ("litserve", "json"), ">=", 1.0),
    ("p99, binary / plain Starlette bytes", "p99_ms", "lenet5",
     ("ours", "binary"), ("starlette", "binary"), "<=", 2.0),
    ("p99, JSON / plain Starlette orjson", "p99_ms", "lenet5",
     ("ours", "json"), ("starlette", "json"), "<=", 2.0),
    ("longest request, binary, ms", "max_ms", "lenet5", ("ours", "binary"), None, "<=", 25.0),
    ("ResNet-18 binary / raw ONNX Runtime", "requests_per_second", "resnet18",
     ("ours", "binary"), ("onnxruntime", "-"), ">=", 0.95),
    ("binary, recording / not recording", "requests_per_second", "lenet5",
     ("ours-recording", "binary"), ("ours", "binary"), ">=", 0.7),
    ("JSON, recording / not recording", "requests_per_second", "lenet5",
     ("ours-recording", "json"), ("ours", "json"), ">=", 0.7),
    ("p99, explaining / idle", "p99_ms", "lenet5",
     ("ours-explaining", "binary"), ("ours", "binary"), "<=", 3.0),
    ("two workers / one", "requests_per_second", "lenet5",
     ("ours-2-workers", "binary"), ("ours", "binary"), ">=", 1.6),
    ("start to first answer, s", "start_seconds", "lenet5",
     ("ours", "binary"), None, "<=", 3.0),
)  # fmt: skip


def goals(lines: list[Row]) -> list[Row]:
    """Each goal beside what was reached at 8 connections; `got` None = not measured."""
    found = []
    for what, name, model, (server, form), theirs, relation, goal in _GOALS:
        got = _value(lines, name, model, server, form, 8)
        if theirs is not None:
            # No server: one caller, so one connection.
            connections = 1 if theirs[0] == "onnxruntime" else 8
            other = _value(lines, name, model, *theirs, connections)
            got = got / other if got is not None and other else None
        reached = None if got is None else (got >= goal if relation == ">=" else got <= goal)
        found.append(
            {"figure": what, "goal": f"{relation} {goal:g}", "got": got, "reached": reached}
        )
    return found


def show(console: Console, lines: list[Row], missing: dict[str, str]) -> None:
    """Print everything: a table a model, the goals, and who could not be measured."""
    for model in dict.fromkeys(line["model"] for line in lines):
        console.print(_table(model, [line for line in lines if line["model"] == model]))
    table = Table(title="figures to reach, 8 connections", title_justify="left")
    for column in ("figure", "goal", "got", "reached"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for goal in goals(lines):
        got = "not measured" if goal["got"] is None else f"{goal['got']:.2f}"
        table.add_row(
            goal["figure"], goal["goal"], got, {True: "yes", False: "NO"}.get(goal["reached"], "")
        )
    console.print(table)
    for name, reason in missing.items():
        console.print(f"NOT MEASURED: {name}: {reason}", markup=False)


def _table(model: str, lines: list[Row]) -> Table:
    table = Table(title=f"{model}, batch 1, one worker each", title_justify="left")
    columns = (
        "at a time", "server", "form", "requests/s", "of Starlette", "p50 ms", "p99 ms",
        "max ms", "errors", "stolen", "start s",
    )  # fmt: skip
    for column in columns:
        table.add_column(
            column, justify="left" if column in ("server", "form") else "right", no_wrap=True
        )
    before = None
    for line in sorted(lines, key=lambda one: one["connections"]):
        if before not in (None, line["connections"]):
            table.add_section()
        before = line["connections"]
        ratio, start = line["of_yardstick"], line["start_seconds"]
        table.add_row(
            str(line["connections"]),
            line["server"],
            line["form"],
            f"{line['requests_per_second']:,.0f}",
            "" if ratio is None else f"{ratio:.2f}x",
            f"{line['p50_ms']:.2f}",
            f"{line['p99_ms']:.2f}",
            f"{line['max_ms']:.1f}",
            str(int(line["errors"])),
            "" if line["stolen"] is None else f"{line['stolen']:.0%}",
            "" if start is None else f"{start:.1f}",
        )
    return table
