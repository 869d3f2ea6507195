"""`glassline alarms`: what people called true or false, as rows to train with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from service import settings as configuration
from service.audit_commands import ApiKey, Model, Url, err, fail, out
from service.client import Client, ClientError

app = typer.Typer(help="Alarms of streams.", no_args_is_help=True)
_FIRST = ("alarm", "stream", "model", "version", "raised", "label", "step")
_VERDICTS = {"judged-true": 1, "judged-false": 0}
_PAGE = 1000


class AlarmClient(Client):
    """Asks one server about alarms; see `Client`."""

    def verdicts(self) -> dict[str, int]:
        """The last word on each live alarm that was judged: 1 = there was something, 0 = not."""
        found: dict[str, int] = {}
        after = 0
        while True:
            params = {"after": after, "limit": _PAGE}
            headers = {"accept": "application/json"}
            page = self._json("GET", "/v2/alarms", params=params, headers=headers)
            for event in page["events"]:
                after = event["id"]
                if event["change"] in _VERDICTS:
                    found[event["alarm"]] = _VERDICTS[event["change"]]
            if len(page["events"]) < _PAGE:
                return found

    def alarm(self, alarm: str) -> dict[str, Any]:
        """One alarm with its records."""
        found: dict[str, Any] = self._json("GET", f"/v2/alarms/{quote(alarm, safe='')}")
        return found

    def window(self, alarm: dict[str, Any]) -> tuple[list[str], NDArray[np.float32]]:
        """Sensors, and (T, C) what the model saw when the alarm was raised."""
        about = f"/v2/models/{alarm['model']}/versions/{alarm['version']}"
        tensor = self._json("GET", about)["inputs"][0]
        path = f"/audit/records/{alarm['prediction_record']}/payloads/{tensor['name']}"
        values = np.load(io.BytesIO(self._bytes("GET", path)), allow_pickle=False)
        return list(tensor["parameters"]["features"]), values.reshape(values.shape[-2:])


@app.callback()
def _group() -> None:
    """Alarms of streams."""


@app.command()
def export(
    labelled: Annotated[
        Path, typer.Option(help="Where to write: windows.csv or windows.parquet.", dir_okay=False)
    ],
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write the windows that raised judged alarms, with their labels, to train with.

    One line a moment of a window: alarm, stream, model, version, raised, label (1 = there was
    something, 0 = a false alarm), step, and each sensor. The last word on an alarm counts. Each
    window that is read is recorded as read (scope audit).

    [dim]glassline alarms export --labelled windows.csv --model press[/dim]
    """
    ending = labelled.suffix.lower()
    if ending not in (".csv", ".parquet"):
        fail(f"{labelled}: wanted a name that ends in .csv or .parquet.")
    if ending == ".parquet" and find_spec("pyarrow") is None:
        fail("Parquet needs pyarrow, which is not installed. Write .csv, or install "
             "'glassline[batch]'.")  # fmt: skip
    with AlarmClient(url or f"http://127.0.0.1:{configuration.load().port}", api_key) as http:
        sensors, rows, left = _labelled(http, model)
    if not rows:
        fail("no alarm that was called true or false has a window. Judge some: "
             "POST /v2/alarms/{id}/feedback.")  # fmt: skip
    (_write_csv if ending == ".csv" else _write_parquet)(labelled, [*_FIRST, *sensors], rows)
    windows = len({row[0] for row in rows})
    out.print(f"wrote {labelled}: {windows} windows, {len(rows)} rows", soft_wrap=True)
    for why in left:
        err.print(f"left out: {why}", soft_wrap=True, markup=False, highlight=False)


def _labelled(http: AlarmClient, model: str | None) -> tuple[list[str], list[list[Any]], list[str]]:
    """Sensors, rows, and what was left out with the reason."""
    sensors: list[str] = []
    rows: list[list[Any]] = []
    left: list[str] = []
    verdicts = http.verdicts()
    for name in track(verdicts, "reading windows", console=err, disable=not err.is_terminal):
        try:
            alarm = http.alarm(name)
            if model is not None and alarm["model"] != model:
                continue
            if "prediction_record" not in alarm:
                left.append(f"{name}: its window is not recorded yet")
                continue
            names, window = http.window(alarm)
        except ClientError as error:
            left.append(f"{name}: {error}")
            continue
        if sensors and names != sensors:
            fail(f"{name}: its sensors are {', '.join(names)}, those before {', '.join(sensors)}. "
                 "Export one model at a time: --model NAME.")  # fmt: skip
        sensors = names
        rows += _rows(alarm, verdicts[name], window)
    return sensors, rows, left


def _rows(alarm: dict[str, Any], label: int, window: NDArray[np.float32]) -> Iterator[list[Any]]:
    about = [alarm[key] for key in ("alarm", "stream", "model", "version", "raised")]
    for step, values in enumerate(window):
        yield [*about, label, step, *values]  # float32: written with no more digits than it has


def _write_csv(target: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        # A missing value is an empty cell.
        writer.writerows([["" if v != v else v for v in row] for row in rows])


def _write_parquet(target: Path, columns: list[str], rows: list[list[Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    parquet.write_table(table, target)
